/** What an inline worker is made of, and nothing else: requests through a bounded channel, answers through oneshots. */
import { mpsc, oneshot } from 'millrace/channels';
import type { Scenarios } from '../../harness/scenario.js';
import { scenariosOf } from '../adapter.js';

interface Request {
  readonly value: number;
  readonly reply: oneshot.Sender<number>;
}

export const scenarios: Scenarios = scenariosOf(async () => {
  const [requests, inbox] = mpsc.channel<Request>(64);
  void (async () => {
    for (;;) {
      const { done, value: request } = await inbox.recv();
      if (done === true) return;
      request.reply.send(request.value + 1);
    }
  })();
  return {
    async increment(value) {
      const [reply, answer] = oneshot.channel<number>();
      await requests.send({ value, reply });
      return answer.recv();
    },
  };
});
