// The official Node SDK against a base URL: each call's answer goes through the SDK's own
// validation and is then looked at here.
//
//     node sdk.mjs BASE_URL...
//
// Behind the proxy the credentials are of no importance, so they are dummies. To run it
// against the API itself, or its stand-in, set SDK_CLIENT_ID and SDK_CLIENT_SECRET.
import assert from 'node:assert/strict';
import { OneShotClient } from '@uxly/1shot-client';

const apiKey = process.env.SDK_CLIENT_ID ?? 'dummy';
const apiSecret = process.env.SDK_CLIENT_SECRET ?? 'dummy';

// What oneshot-origin has from the start.
const business = '7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e01';
const treasury = '7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e02';
const transferMethod = '7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e03';
const balanceMethod = '7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e04';
const account = `0x${'44'.repeat(20)}`;
const order = { to: account, value: '1000' };

let passed = 0;
let failed = 0;

async function check(name, call) {
  try {
    await call();
    passed++;
  } catch (error) {
    failed++;
    console.error(`FAILED: ${name}\n${error.stack}`);
  }
}

async function wallets(client) {
  let id;

  await check('a wallet with a name in UTF-8 is created', async () => {
    const name = 'Zürich – 資金';
    const wallet = await client.wallets.create(business, { chainId: 84532, name });
    assert.equal(wallet.name, name);
    assert.equal(wallet.businessId, business);
    id = wallet.id;
  });
  await check('a wallet is found by a name with + and &', async () => {
    const name = 'pay & go +1 100%';
    await client.wallets.update(id, { name, description: 'renamed' });
    const page = await client.wallets.list(business, { chainId: 84532, name });
    assert.ok(page.response.some((wallet) => wallet.id === id && wallet.name === name));
    assert.ok(page.response.every((wallet) => wallet.name === name));
  });
  await check('a wallet comes with its balance when asked', async () => {
    const wallet = await client.wallets.get(treasury, true);
    assert.equal(wallet.accountBalanceDetails.ticker, 'ETH');
    assert.equal((await client.wallets.get(treasury)).accountBalanceDetails, null);
  });
  await check('a transfer makes a transaction', async () => {
    const transaction = await client.wallets.transfer(treasury, {
      destinationAccountAddress: account,
      transferAmount: '1',
      memo: 'rent',
    });
    assert.equal(transaction.status, 'Pending');
    assert.equal(transaction.to, account);
  });
  await check('a wallet is deleted, and is then not found', async () => {
    assert.deepEqual(await client.wallets.delete(id), { success: true });
    await assert.rejects(client.wallets.get(id), /Not Found/);
  });
}

async function contractMethods(client) {
  let id;

  await check('a contract method with a struct among its inputs is created', async () => {
    const method = await client.contractMethods.create(business, {
      chainId: 84532,
      contractAddress: account,
      walletId: treasury,
      name: 'Pay many',
      description: 'Pays several at once',
      functionName: 'payMany',
      stateMutability: 'nonpayable',
      inputs: [
        { name: 'memo', type: 'string', index: 0 },
        {
          name: 'payment',
          type: 'struct',
          index: 1,
          typeStruct: {
            name: 'Payment',
            params: [
              { name: 'to', type: 'address', index: 0 },
              { name: 'amount', type: 'uint', index: 1, typeSize: 256 },
            ],
          },
        },
      ],
      outputs: [],
    });
    assert.equal(method.inputs[1].typeStruct.params[1].typeSize, 256);
    id = method.id;
  });
  await check('contract methods are listed, page by page', async () => {
    const first = await client.contractMethods.list(business, { pageSize: 1, page: 1 });
    const second = await client.contractMethods.list(business, { pageSize: 1, page: 2 });
    assert.ok(first.totalResults >= 4);
    assert.notEqual(first.response[0].id, second.response[0].id);
    const reading = await client.contractMethods.list(business, { methodType: 'read' });
    assert.ok(reading.response.every((method) => method.stateMutability === 'view'));
  });
  await check('a contract method is updated', async () => {
    await client.contractMethods.update(id, { params: { name: 'Pay all' } });
    assert.equal((await client.contractMethods.get(id)).name, 'Pay all');
  });
  await check('a contract method is deleted, with an empty answer', async () => {
    // The API answers 200 with no body at all, which this version of the SDK cannot read.
    await assert.rejects(client.contractMethods.delete(id), SyntaxError);
    await assert.rejects(client.contractMethods.get(id), /Not Found/);
  });
  await check('a view function is read', async () => {
    assert.match(await client.contractMethods.read(balanceMethod, { account }), /^[0-9]+$/);
  });
  await check('a call is tested, encoded and estimated', async () => {
    const result = await client.contractMethods.test(transferMethod, order);
    assert.equal(result.error, null);
    const { data } = await client.contractMethods.encode(transferMethod, order);
    assert.equal(data, `0xa9059cbb${'0'.repeat(24)}${'44'.repeat(20)}${'3e8'.padStart(64, '0')}`);
    const estimate = await client.contractMethods.estimate(transferMethod, order);
    assert.equal(estimate.functionName, 'transfer');
  });
  await check('a call without a parameter is refused by the API', async () => {
    await assert.rejects(client.contractMethods.execute(transferMethod, { to: account }), /422|Unprocessable/);
  });
}

async function transactions(client) {
  let id;

  await check('a contract method is executed', async () => {
    const options = { memo: 'invoice 17' };
    const transaction = await client.contractMethods.execute(transferMethod, order, options);
    assert.equal(transaction.status, 'Pending');
    assert.equal(transaction.memo, 'invoice 17');
    id = transaction.id;
  });
  await check('a transaction is polled until it is completed', async () => {
    const seen = [];
    for (let i = 0; i < 5 && seen.at(-1) !== 'Completed'; i++)
      seen.push((await client.transactions.get(id)).status);
    assert.deepEqual(seen, ['Submitted', 'Completed']);
  });
  await check('transactions are found by memo and status', async () => {
    const page = await client.transactions.list(business, { memo: 'invoice 17', status: 'Completed' });
    assert.ok(page.response.some((transaction) => transaction.id === id));
  });
  await check('a batch is executed in one transaction', async () => {
    const transaction = await client.request('POST', '/methods/executeBatch', {
      walletId: treasury,
      contractMethods: [0, 1].map((executionIndex) => (
        { contractMethodId: transferMethod, executionIndex, params: order })),
    });
    assert.deepEqual(transaction.contractMethodIds, [transferMethod, transferMethod]);
  });
}

async function chains(client) {
  await check('the chains are listed', async () => {
    const page = await client.chains.list({ pageSize: 100, page: 1 });
    assert.ok(page.response.some((chain) => chain.chainId === 84532));
    assert.equal(page.response.length, page.totalResults);
  });
  await check('the fees of a chain are told', async () => {
    const fees = await client.request('GET', '/chains/84532/fees');
    assert.match(fees.maxFeePerGas, /^[0-9]+$/);
  });
}

async function parallel(client) {
  await check('many calls at once each get their own answer', async () => {
    const calls = Array.from({ length: 40 }, (_, i) => i).map(async (i) => {
      const memo = `parallel ${i}`;
      const made = await client.contractMethods.execute(transferMethod, order, { memo });
      const found = await client.transactions.get(made.id);
      assert.equal(made.memo, memo);
      assert.equal(found.memo, memo);
      return made.id;
    });
    assert.equal(new Set(await Promise.all(calls)).size, calls.length);
  });
  await check('clients that begin at the same time each get a token', async () => {
    const baseUrl = client.config.baseUrl;
    const pages = await Promise.all(Array.from({ length: 10 }, () =>
      new OneShotClient({ apiKey, apiSecret, baseUrl }).chains.list()));
    assert.ok(pages.every((page) => page.totalResults === pages[0].totalResults));
  });
}

const bases = process.argv.slice(2);
assert.ok(bases.length > 0, 'usage: node sdk.mjs BASE_URL...');
for (const baseUrl of bases) {
  const client = new OneShotClient({ apiKey, apiSecret, baseUrl });

  await chains(client);
  await wallets(client);
  await contractMethods(client);
  await transactions(client);
  await parallel(client);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
