// The page of the dashboard. It draws each state that the server sends anew; forms keep what was typed into them.
const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
const BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, Infinity];
// The page is at `/ui/` and at `/ui`.
const here = location.pathname.endsWith('/') ? './' : './ui/';
const needsKey = document.documentElement.dataset.keys === 'yes';
let key = sessionStorage.getItem('millrace-key') ?? '';
let source;
let lastAt = 0;
let served = '';
let hasKeys = false;

// --- making elements

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

function drawing(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// --- numbers as text

const count = (value) => Math.round(value).toLocaleString('en');
const rate = (value) => (value >= 100 ? count(value) : value.toFixed(1));
const memory = (mb) => (mb >= 10000 ? `${(mb / 1000).toFixed(1)} GB` : `${count(mb)} MB`);

function duration(ms) {
  if (ms < 10) return `${Math.max(0, ms).toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 100) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  const hours = seconds / 3600;
  return hours < 100 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} d`;
}

const STATES = { ready: 'good', processing: 'good', idle: 'good', healthy: 'good', closed: 'good' };
const BAD = ['failed', 'dead', 'unhealthy', 'open', 'closing'];
const toneOf = (word) => STATES[word] ?? (BAD.includes(word) ? 'bad' : 'warn');
const pill = (word, text = word) => element('span', { class: `pill ${toneOf(word)}` }, text);

// --- charts

/** A line of the last five minutes, one point a second, the newest at the right. */
function sparkline(rates) {
  const width = 300;
  const height = 56;
  const most = Math.max(1, ...rates);
  const left = width - rates.length;
  const points = rates.map(
    (each, index) => `${left + index + 0.5},${(height - (each / most) * (height - 4)).toFixed(1)}`,
  );
  const svg = drawing('svg', {
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: 'none',
    height,
    role: 'img',
    'aria-label': `images a second: now ${rate(rates.at(-1) ?? 0)}, at most ${rate(most)}`,
  });
  if (points.length > 0) {
    svg.append(
      drawing('polygon', {
        class: 'area',
        points: `${left + 0.5},${height} ${points.join(' ')} ${width - 0.5},${height}`,
      }),
      drawing('polyline', { class: 'trace', points: points.join(' ') }),
    );
  }
  return svg;
}

/** Bars by their upper bound, as high as their share of the highest. */
function bars(counts, label) {
  const height = 26;
  const most = Math.max(1, ...counts);
  const svg = drawing('svg', {
    viewBox: `0 0 ${counts.length * 10} ${height}`,
    preserveAspectRatio: 'none',
    height,
    role: 'img',
    'aria-label': label,
  });
  for (const [index, each] of counts.entries()) {
    const tall = each === 0 ? 0 : Math.max(2, (each / most) * (height - 2));
    svg.append(
      drawing('rect', { class: 'floor', x: index * 10 + 1, y: height - 1, width: 8, height: 1 }),
      drawing('rect', { class: 'bar', x: index * 10 + 1, y: height - tall, width: 8, height: tall }),
    );
  }
  return svg;
}

/** The bound that a share of all stays within. */
function quantile(counts, share) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  let below = 0;
  for (const [index, each] of counts.entries()) {
    below += each;
    if (below >= share * total) return BOUNDS_MS[index];
  }
  return Infinity;
}

const within = (ms) => (ms === Infinity ? 'over 10 s' : `within ${duration(ms).replace('.0', '')}`);

function latencyRow(name, tally) {
  const counts = BOUNDS_MS.map((bound) => tally[bound] ?? 0);
  const total = counts.reduce((sum, each) => sum + each, 0);
  const text =
    total === 0 ? 'nothing yet' : `half ${within(quantile(counts, 0.5))}, 99 of 100 ${within(quantile(counts, 0.99))}`;
  return [element('span', {}, name), bars(counts, `${name}: ${text}`), element('small', {}, text)];
}

function batchFigure(tally) {
  const sizes = Object.keys(tally)
    .map(Number)
    .sort((a, b) => a - b);
  const total = sizes.reduce((sum, size) => sum + tally[size], 0);
  const images = sizes.reduce((sum, size) => sum + size * tally[size], 0);
  const shown = Array.from({ length: Math.max(1, sizes.at(-1) ?? 1) }, (_, index) => tally[index + 1] ?? 0);
  const text = total === 0 ? 'none yet' : `${count(total)} runs, ${(images / total).toFixed(1)} images each on average`;
  return element(
    'figure',
    {},
    element('figcaption', {}, `Batch sizes: ${text}`),
    bars(shown, `batch sizes: ${text}`),
    element('div', { class: 'ends' }, element('span', {}, '1 image'), element('span', {}, `${shown.length} images`)),
  );
}

// --- the parts of the page

function tile(name, value, unit, meaning, ...more) {
  return element(
    'div',
    { class: 'tile' },
    element('span', { class: 'quiet' }, name),
    element('b', {}, value, ' ', element('i', {}, unit)),
    ...more,
    element('span', { class: 'quiet' }, meaning),
  );
}

function showTiles({ models, memory: { heldMb, limitMb }, server }) {
  const sum = (of) => models.reduce((total, model) => total + of(model), 0);
  const now = sum(({ rates }) => rates.at(-1) ?? 0);
  $('tiles').replaceChildren(
    tile('Answers', rate(now), 'a second', 'pictures and texts, now'),
    tile('Queued', count(sum(({ queued, waiting }) => queued + waiting)), '', 'wait for a worker, or for room'),
    tile(
      'Under way',
      count(server.underWay),
      `of ${count(server.limit)}`,
      `more get 429: ${count(server.refused)} so far`,
    ),
    tile(
      'Memory of workers',
      memory(heldMb),
      `of ${memory(limitMb)}`,
      'of the limit for all',
      element('meter', { min: 0, max: limitMb, value: heldMb, high: limitMb * 0.9 }),
    ),
    tile('Request bodies', memory(server.bodyMb), `of ${memory(server.bodyLimitMb)}`, 'being read or held'),
  );
}

function modelCard(model) {
  const { key: name, status, breaker, rates, p50Ms, p99Ms } = model;
  const figures = [
    `${count(model.queued)} queued`,
    model.waiting > 0 ? `${count(model.waiting)} wait for room` : undefined,
    `${count(model.inFlight)} in flight`,
    memory(model.memoryMb),
    p50Ms === undefined ? undefined : `p50 ${duration(p50Ms)}, p99 ${duration(p99Ms)} with a worker`,
  ].filter((each) => each !== undefined);
  const ends = `${count(model.succeeded)} answered, ${count(model.failed)} failed, ${count(model.expired)} expired, ${count(model.cancelled)} cancelled, ${count(model.refused)} refused`;
  const breakerPill = breaker === 'off' ? undefined : pill(breaker, `breaker ${breaker}`);
  return element(
    'article',
    { class: 'model', 'data-model': name },
    element(
      'header',
      {},
      element('h3', {}, name),
      pill(status),
      breakerPill,
      element('span', { class: 'quiet' }, figures.join(' · ')),
    ),
    element(
      'div',
      { class: 'charts' },
      element(
        'figure',
        {},
        element(
          'figcaption',
          {},
          `Answers a second: now ${rate(rates.at(-1) ?? 0)}, at most ${rate(Math.max(0, ...rates))}`,
        ),
        sparkline(rates),
        element('div', { class: 'ends' }, element('span', {}, '5 minutes ago'), element('span', {}, 'now')),
        element('p', { class: 'quiet' }, ends),
      ),
      element(
        'figure',
        {},
        element('figcaption', {}, 'Time an image takes, since the server started'),
        element(
          'div',
          { class: 'strip' },
          ...latencyRow('wait', model.waitMs),
          ...latencyRow('decode', model.decodeMs),
          ...latencyRow('run', model.runMs),
          element('span', {}),
          element(
            'div',
            { class: 'ends' },
            ...['1 ms', '20 ms', '500 ms', 'over 10 s'].map((each) => element('span', {}, each)),
          ),
        ),
      ),
      batchFigure(model.batchSizes),
    ),
  );
}

const LABELS = [
  'Worker',
  'Model',
  'State',
  'Process',
  'Memory, MB',
  'In flight',
  'Answered',
  'Age',
  'Restarts',
  'Last error',
];

function workerRow(row) {
  const cells = [
    row.worker,
    row.model,
    pill(row.state),
    row.pid === undefined ? '-' : String(row.pid),
    row.memoryMb === undefined ? '-' : count(row.memoryMb),
    count(row.inFlight),
    count(row.served),
    duration(row.ageMs),
    count(row.restarts),
    row.lastError ?? '',
  ];
  return element(
    'tr',
    { 'data-worker': row.worker },
    ...cells.map((cell, index) =>
      element(
        'td',
        { 'data-label': LABELS[index], class: index > 3 && index < 9 ? 'n' : undefined },
        ...(cell === '' ? [] : [cell]),
      ),
    ),
  );
}

const none = (text) => element('li', { class: 'quiet' }, text);
const ago = (now, at) =>
  element('span', { class: 'quiet when' }, now - at < 1500 ? 'now' : `${duration(now - at)} ago`);

function errorItem({ at, code, message, count: times }, now) {
  const often = times > 1 ? ` (${count(times)} times)` : '';
  return element(
    'li',
    {},
    element('span', {}, element('b', { class: 'bad' }, code), ` ${message}${often}`),
    ago(now, at),
  );
}

function answerItem({ at, model, kind, isOk, waitMs, serviceMs, thumbnail }, now) {
  const times = waitMs === undefined ? '' : `${duration(waitMs)} + ${duration(serviceMs)}`;
  return element(
    'li',
    {},
    thumbnail === undefined ? undefined : element('img', { src: thumbnail, alt: '' }),
    element(
      'span',
      {},
      element('b', { class: isOk ? 'good' : 'bad' }, isOk ? 'answered' : 'failed'),
      ` ${kind}, ${model} ${times}`,
    ),
    ago(now, at),
  );
}

function showServed(names) {
  if (names.join('\n') === served) return;
  served = names.join('\n');
  $('try-model').replaceChildren(...names.map((name) => element('option', {}, name)));
  const button = (action, name) =>
    element('button', { type: 'button', disabled: !hasKeys, onclick: () => act(action.toLowerCase(), name) }, action);
  $('actions').replaceChildren(
    ...names.map((name) =>
      element(
        'div',
        { class: 'act' },
        element('b', {}, name),
        ...['Warm', 'Evict', 'Restart'].map((action) => button(action, name)),
      ),
    ),
  );
}

function show(state) {
  const { at, status, version, startedAt, models, workers, errors, answers } = state;
  lastAt = Date.now();
  hasKeys = state.hasKeys;
  $('actions-note').textContent = hasKeys
    ? 'Asked for with the API key that was typed above.'
    : 'Off: the server has no keys. Start it with --api-key-file to act from here.';
  setStatus(status);
  $('uptime').textContent = `version ${version}, up ${duration(at - startedAt)}`;
  showTiles(state);
  if (models.length > 0) $('models').replaceChildren(...models.map(modelCard));
  document.querySelector('#workers tbody').replaceChildren(...workers.map(workerRow));
  $('errors').replaceChildren(...(errors.length > 0 ? errors.map((each) => errorItem(each, at)) : [none('none')]));
  $('answers').replaceChildren(
    ...(answers.length > 0 ? answers.map((each) => answerItem(each, at)) : [none('none yet')]),
  );
  showServed(state.served);
}

function setStatus(word, text = word) {
  $('status').className = `pill ${toneOf(word)}`;
  $('status').textContent = text;
}

// --- the connection

const authorized = (headers = {}) => (key === '' ? headers : { ...headers, authorization: `Bearer ${key}` });

async function connect() {
  source?.close();
  if (needsKey) {
    $('key-form').hidden = false;
    if (key === '') return setStatus('closing', 'needs a key');
    // A stream can send no key: the cookie of a session opens it.
    const answer = await fetch(`${here}session`, { method: 'POST', headers: authorized() }).catch(() => undefined);
    if (answer?.status === 401) return setStatus('closing', 'wrong key');
  }
  source = new EventSource(`${here}events`);
  source.onmessage = ({ data }) => show(JSON.parse(data));
  source.onerror = () => {
    setStatus('lost', 'connection lost, trying again');
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  };
}

setInterval(() => {
  const silent = Date.now() - lastAt;
  if (lastAt > 0 && silent > 4000 && source?.readyState === EventSource.OPEN)
    setStatus('late', `no news for ${duration(silent)}`);
}, 1000);

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  key = $('key').value.trim();
  sessionStorage.setItem('millrace-key', key);
  $('key').value = '';
  connect();
});

// --- what can be asked for

async function post(path, body) {
  const answer = await fetch(path, {
    method: 'POST',
    headers: authorized({ 'content-type': 'application/json' }),
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {}
  if (answer.ok) return value;
  throw new Error(value?.error?.message ?? `status ${answer.status}`);
}

async function act(action, model) {
  $('acted').textContent = `${action} ${model} ...`;
  try {
    const { evicted } = await post(`${here}actions`, { action, model });
    $('acted').textContent = `${action} ${model}: done${action === 'warm' ? '' : `, ${evicted} ended`}`;
  } catch (error) {
    $('acted').textContent = `${action} ${model}: ${error.message}`;
  }
}

let previous;

/** Embeds a picture or a word, and compares it with the one before. */
async function embed(input, name) {
  $('result').textContent = 'embedding ...';
  const started = performance.now();
  try {
    const model = $('try-model').value;
    const { data } = await post(`${here}../v1/embeddings`, { model, input, encoding_format: 'float' });
    const ms = performance.now() - started;
    const vector = data[0].embedding;
    const lines = [`${vector.length} values in ${duration(ms)}, the way from this page included`];
    if (previous?.vector.length === vector.length) {
      const norm = (of) => Math.hypot(...of);
      const cosine =
        vector.reduce((sum, each, index) => sum + each * previous.vector[index], 0) /
        (norm(vector) * norm(previous.vector));
      lines.push(`cosine similarity to ${previous.name}: ${cosine.toFixed(3)}`);
    }
    previous = { vector, name };
    $('result').replaceChildren(
      ...lines.map((line) => element('p', {}, line)),
      element(
        'code',
        { class: 'quiet' },
        `[${vector
          .slice(0, 6)
          .map((each) => each.toFixed(4))
          .join(', ')}, ...]`,
      ),
    );
  } catch (error) {
    $('result').replaceChildren(element('p', { class: 'bad' }, error.message));
  }
}

function take(file) {
  if (file === undefined) return;
  const preview = $('preview');
  if (preview.src.startsWith('blob:')) URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  const reader = new FileReader();
  reader.onload = () => {
    const type = file.type.startsWith('image/') ? file.type : 'image/jpeg';
    embed(`data:${type};base64,${reader.result.slice(reader.result.indexOf(',') + 1)}`, file.name);
  };
  reader.readAsDataURL(file);
}

const drop = $('drop');
$('file').addEventListener('change', ({ target }) => take(target.files[0]));
for (const type of ['dragover', 'dragleave', 'drop']) {
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle('over', type === 'dragover');
    if (type === 'drop') take(event.dataTransfer.files[0]);
  });
}
$('word-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const word = $('word').value.trim();
  embed(word, `"${word}"`);
});

connect();
