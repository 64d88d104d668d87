import { describe, expect, it } from 'vitest';
import { CancellationToken, mpsc, Notify, type Selectable, select, timeout } from '../../src/channels/index.js';
import { addAbortListener, removeAbortListener } from '../../src/core/index.js';

type Listener = (this: unknown, ...event: unknown[]) => void;

/** A signal of a host that calls its listeners in its own way. */
function signalThatCalls(call: (listener: Listener) => void): { signal: AbortSignal; controller: AbortController } {
  const controller = new AbortController();
  const { signal } = controller;
  const made = new Map<Listener, () => void>();
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = ((type: 'abort', listener: Listener) => {
    made.set(listener, () => call(listener));
    add(type, made.get(listener) as () => void);
  }) as never;
  signal.removeEventListener = ((type: 'abort', listener: Listener) => {
    remove(type, made.get(listener) ?? (() => {}));
  }) as never;
  return { signal, controller };
}

const hosts: Readonly<Record<string, (listener: Listener) => void>> = {
  'with no this': (listener) => listener.call(undefined, new Event('abort')),
  'with another this': (listener) => listener.call(globalThis, new Event('abort')),
  'with no event': (listener) => listener.call(undefined),
};

describe.each(Object.entries(hosts))('a signal of a host that calls its listeners %s', (_, call) => {
  it('abandons every kind of wait', async () => {
    const { signal, controller } = signalThatCalls(call);
    const [, rx] = mpsc.channel<number>(1);
    const waits: PromiseLike<unknown>[] = [
      rx.recv({ signal }),
      rx.recvMany(2, { signal }),
      select({ rx }, { signal }),
      timeout(10_000, rx, { signal }),
      new Notify().notified({ signal }),
    ];
    const won = select({ rx: rx as Selectable<number>, stop: signal });
    const token = CancellationToken.fromSignal(signal).cancelled();
    controller.abort('stop');
    for (const wait of waits) await expect(wait).rejects.toBe('stop');
    expect(await won).toEqual({ arm: 'stop', value: 'stop' });
    await token;
  });
});

describe('addAbortListener()', () => {
  it('has one listener on the signal, and none when all are taken back', () => {
    const controller = new AbortController();
    const { signal } = controller;
    let added = 0;
    let removed = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = ((...args: Parameters<typeof add>) => {
      added++;
      add(...args);
    }) as never;
    signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
      removed++;
      remove(...args);
    }) as never;
    const told: string[] = [];
    const listener = (name: string) => ({ onAbort: (reason: unknown) => void told.push(`${name} ${reason}`) });
    const [one, two] = [listener('one'), listener('two')] as const;
    addAbortListener(signal, one);
    addAbortListener(signal, two);
    removeAbortListener(signal, one);
    removeAbortListener(signal, two);
    expect([added, removed]).toEqual([1, 1]);
    const takesBack = {
      onAbort: (reason: unknown) => {
        told.push(`first ${reason}`);
        removeAbortListener(signal, two);
      },
    };
    addAbortListener(signal, takesBack);
    addAbortListener(signal, two);
    addAbortListener(signal, one);
    controller.abort('stop');
    expect(told).toEqual(['first stop', 'one stop']);
    expect([added, removed]).toEqual([2, 2]);
  });

  it('leaves nothing behind on a signal that takes no listener', () => {
    const { signal } = new AbortController();
    const add = signal.addEventListener.bind(signal);
    let refuses = true;
    signal.addEventListener = ((...args: Parameters<typeof add>) => {
      if (refuses) throw new Error('no listeners here');
      add(...args);
    }) as never;
    const listener = { onAbort: () => {} };
    expect(() => addAbortListener(signal, listener)).toThrow('no listeners here');
    refuses = false;
    let asked = 0;
    signal.addEventListener = ((...args: Parameters<typeof add>) => {
      asked++;
      add(...args);
    }) as never;
    addAbortListener(signal, listener);
    expect(asked).toBe(1);
    removeAbortListener(signal, listener);
  });
});
