/**
 * One trace of a call that crosses to another host and into a worker process there. The network is simulated; `connectNats` of `millrace/nats` has a
 * real one. The spans are printed where they end: those of the worker process on stderr.
 *
 *     npm run example examples/tracing.ts
 *
 * In a project that has millrace, @opentelemetry/api and @opentelemetry/sdk-trace-node: `npx tsx tracing.ts`.
 */
import { trace } from '@opentelemetry/api';
import { MillraceInstrumentation } from 'millrace/otel';
import { createPool } from 'millrace/pool';
import { createRemotePool, SimulatedBus, servePool } from 'millrace/remote';
import { operation } from 'millrace/worker';

const module = new URL('./tracing-model.js', import.meta.url);
const { startSdk } = (await import(module.href)) as { startSdk: (where: string) => void };
startSdk('caller');
new MillraceInstrumentation();
const operations = { shout: operation<string, string>({ idempotent: true }) };
const network = new SimulatedBus();

const there = createPool({ name: 'there' });
there.register('text', { operations, host: 'process', module });
const host = await servePool(there, { bus: network.connect(), service: 'text', operations: ['shout'] });

const here = createRemotePool({ bus: network.connect() });
const text = here.connect('text', { operations });
await trace.getTracer('app').startActiveSpan('request', async (span) => {
  console.log(await text.call('shout', 'hello'));
  span.end();
});

await here.close();
await host.close();
await there.close();
