/**
 * A worker loop of your own, with the channels and the handle of the stock loop. It serves urgent requests first, however many others wait:
 * `biased` makes the order of the arms their priority.
 *
 *     npm run example examples/custom-worker.ts
 *
 * In a project that has millrace: `npx tsx custom-worker.ts`.
 */
import { createSelector } from 'millrace/channels';
import { answerRequest, createWorkerChannels, operation } from 'millrace/worker';

const { handle, channels } = createWorkerChannels({
  urgent: operation<string, string>({ capacity: 8 }),
  routine: operation<string, string>({ capacity: 8 }),
});

const served: string[] = [];
const model = {
  async urgent(text: string) {
    served.push(`urgent ${text}`);
    return text.toUpperCase();
  },
  async routine(text: string) {
    served.push(`routine ${text}`);
    return text.toLowerCase();
  },
};

async function serve(): Promise<void> {
  channels.enter('loading');
  channels.enter('ready');
  const { urgent, routine } = channels.operations;
  const selector = createSelector(
    { stop: channels.shutdown, ping: channels.health, urgent, routine },
    { biased: true },
  );
  for (;;) {
    const event = await selector.next();
    switch (event.arm) {
      case 'ping':
        event.value.reply.send(channels.report());
        break;
      case 'urgent':
      case 'routine':
        // Runs the method in the caller's async context and answers, unless the caller has aborted meanwhile.
        await answerRequest(event.value, model);
        break;
      default:
        return channels.finish();
    }
  }
}

const answers = [handle.call('routine', 'A'), handle.call('routine', 'B'), handle.call('urgent', 'c')];
const loop = serve();
console.log((await Promise.all(answers)).join(' '));
console.log(served.join(', '));
await handle.close();
await loop;
