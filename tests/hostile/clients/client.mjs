// Node: http with an agent that keeps connections, and fetch. Prints NAME OPERATION ok|what.
import http from "node:http";

const base = process.argv[2];
const report = (name, operation, what) => console.log(name, operation, what ? `FAILED ${what}` : "ok");

async function attempt(name, operation, call, wanted) {
  try {
    const got = await call();
    report(name, operation, got === wanted ? "" : `${got} instead of ${wanted}`);
  } catch (error) {
    report(name, operation, String(error));
  }
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const sockets = new Set();
function byHttp(method, pieces, headers) {
  return new Promise((resolve, reject) => {
    const request = http.request(`${base}/c`, { method, headers, agent, timeout: 20000 }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => resolve(answer.statusCode === 200 ? text : `status ${answer.statusCode}`));
      answer.on("error", reject);
    });
    request.on("socket", (socket) => sockets.add(socket));
    request.on("error", reject);
    const send = () => {
      for (const piece of pieces) request.write(piece);
      request.end();
    };
    if (headers?.Expect) request.on("continue", send), request.flushHeaders();
    else send();
  });
}

await attempt("node-http", "get", () => byHttp("GET", []), "GET 0");
await attempt("node-http", "post", () => byHttp("POST", ["hello"], { "Content-Length": 5 }), "POST 5");
await attempt("node-http", "chunked", () => byHttp("POST", ["he", "llo"]), "POST 5");
await attempt("node-http", "expect", () =>
  byHttp("POST", ["hello"], { "Content-Length": 5, Expect: "100-continue" }), "POST 5");
await attempt("node-http", "head", () => byHttp("HEAD", []), "");
await attempt("node-http", "keep-alive", async () => String(sockets.size), "1");
agent.destroy();

if (globalThis.fetch) {
  const byFetch = async (method, body) => {
    const answer = await fetch(`${base}/c`, { method, body, duplex: "half" });
    return answer.status === 200 ? answer.text() : `status ${answer.status}`;
  };
  const stream = () => new Blob(["hello"]).stream();
  await attempt("node-fetch", "get", () => byFetch("GET"), "GET 0");
  await attempt("node-fetch", "post", () => byFetch("POST", "hello"), "POST 5");
  await attempt("node-fetch", "chunked", () => byFetch("POST", stream()), "POST 5");
  await attempt("node-fetch", "head", () => byFetch("HEAD"), "");
  await attempt("node-fetch", "keep-alive", () => byFetch("GET"), "GET 0");
}
