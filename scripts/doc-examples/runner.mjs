// Runs example modules in turn and sends one message each: `{ failure? }`.
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';

function describe(error) {
  return error?.constructor?.name === 'ClaimError' ? error.message : inspect(error);
}

async function main([limit, ...modules]) {
  let fail = () => {};
  process.on('unhandledRejection', (reason) => fail(`unhandled rejection: ${describe(reason)}`));
  process.on('uncaughtException', (error) => fail(describe(error)));
  for (const module of modules) {
    const failure = await new Promise((resolve) => {
      fail = resolve;
      const timer = setTimeout(() => resolve(`no result after ${limit} ms`), Number(limit));
      import(pathToFileURL(module).href)
        // A macrotask, so that a rejection nobody handles is told of this example and not of the next.
        .then(() => new Promise((done) => setImmediate(done)))
        .then(
          () => resolve(undefined),
          (error) => resolve(describe(error)),
        )
        .finally(() => clearTimeout(timer));
    });
    await new Promise((sent) => process.send(failure === undefined ? {} : { failure }, sent));
  }
  process.exit(0);
}

await main(process.argv.slice(2));
