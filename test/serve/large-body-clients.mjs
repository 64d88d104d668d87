/** Posts the body of a file in a loop, from a process of its own: `url file clients ms`. Prints the statuses as JSON. */
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';

const [url, file, clients, ms] = process.argv.slice(2);
const body = await readFile(file);
const agent = new Agent({ keepAlive: true });
const statuses = {};
const end = performance.now() + Number(ms);

const post = () =>
  new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode));
    });
    sent.on('error', reject);
    sent.end(body);
  });

await Promise.all(
  Array.from({ length: Number(clients) }, async () => {
    while (performance.now() < end) {
      const status = await post();
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  }),
);
agent.destroy();
console.log(JSON.stringify(statuses));
