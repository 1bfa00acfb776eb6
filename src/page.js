// The page asks for itself every few seconds and shows what has changed. Without this script it
// works as well, with a link that loads it again.
"use strict";
(() => {
    const period = 5000, patience = 4000;
    const stale = document.getElementById("stale");
    const spoken = document.getElementById("spoken");
    let answered = new Date(), waiting = false;

    // Somebody is marking text: wait, rather than take it away.
    const marking = () => {
        const selection = document.getSelection();
        return selection !== null && !selection.isCollapsed;
    };

    const replace = (next) => {
        const main = document.querySelector("main");
        const focused = document.activeElement === null ? "" : document.activeElement.id;
        for (const details of next.querySelectorAll("details[id]")) {
            const now = document.getElementById(details.id);
            details.open = now !== null && now.open;
        }
        main.replaceWith(document.importNode(next, true));
        if (focused !== "") document.getElementById(focused)?.focus({ preventScroll: true });
    };

    const show = (text) => {
        const page = new DOMParser().parseFromString(text, "text/html");
        const next = page.querySelector("main"), icon = page.querySelector("link[rel=icon]");
        if (next === null || icon === null) throw new Error("not the status page");
        const headline = next.querySelector("#verdict h2").textContent;
        replace(next);
        document.title = page.title;
        document.querySelector("link[rel=icon]").href = icon.href;
        if (spoken.textContent !== headline) spoken.textContent = headline;
    };

    const refresh = async () => {
        if (waiting || document.hidden || marking()) return;
        waiting = true;
        try {
            const answer = await fetch(location.href, {
                cache: "no-store",
                redirect: "error",
                signal: AbortSignal.timeout(patience),
            });
            if (!answer.ok) throw new Error(answer.statusText);
            show(await answer.text());
            answered = new Date();
            stale.hidden = true;
        } catch {
            stale.textContent = "No answer from the proxy since " + answered.toLocaleTimeString() +
                ". What you see is from then.";
            stale.hidden = false;
        }
        waiting = false;
    };

    document.getElementById("how").textContent = "renews itself";
    document.addEventListener("visibilitychange", refresh);
    setInterval(refresh, period);
})();
