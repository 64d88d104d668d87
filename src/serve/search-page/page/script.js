const $ = (id) => document.getElementById(id);
const base = location.pathname.replace(/\/?$/, '/');
/** The pictures of the query: `{ isMinus, label, source, term }`, `term` as the server takes it. */
let terms = [];
let latest = 0;

const imageUrl = (kind, id) => `${base}${kind}?id=${encodeURIComponent(id)}`;

function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function say(text, isBad = false) {
  $('status').textContent = text;
  $('status').classList.toggle('bad', isBad);
}

async function search() {
  const query = $('words').value.trim();
  const own = ++latest;
  if (query === '' && terms.length === 0) {
    $('hits').replaceChildren();
    say('Type words, or drop a picture anywhere.');
    return;
  }
  say('Searching');
  const sent = terms.map(({ isMinus, term }) => ({ ...term, weight: isMinus ? -1 : 1 }));
  try {
    const response = await fetch(`${base}query`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...(query === '' ? {} : { query }), terms: sent }),
    });
    const answer = await response.json();
    if (own !== latest) return;
    if (response.status === 401) askForKey();
    if (!response.ok) throw new Error(answer.error?.message ?? `The server answered ${response.status}`);
    show(answer.hits);
  } catch (error) {
    if (own !== latest) return;
    $('hits').replaceChildren();
    say(error.message, true);
  }
}

function show(hits) {
  $('hits').replaceChildren(...hits.map(card));
  say(hits.length === 0 ? 'No picture matches.' : `${hits.length} ${hits.length === 1 ? 'picture' : 'pictures'}`);
}

function card({ id, name, score, taken, camera, isFile }) {
  const picture = make('img', { alt: name, loading: 'lazy', decoding: 'async', title: id });
  if (isFile) picture.src = imageUrl('thumbnail', id);
  const link = make('a', { target: '_blank', rel: 'noopener', href: isFile ? imageUrl('original', id) : id }, picture);
  const less = () => {
    const source = isFile ? imageUrl('thumbnail', id) : undefined;
    addTerm({ isMinus: true, label: name, source, term: { id } });
  };
  return make(
    'li',
    {},
    link,
    make(
      'p',
      {},
      make('span', { className: 'name', textContent: name, title: id }),
      make('span', { className: 'score', textContent: score.toFixed(3) }),
    ),
    make('small', { textContent: [taken?.slice(0, 10), camera].filter(Boolean).join(', ') }),
    make(
      'div',
      {},
      make('button', { type: 'button', textContent: 'More like this', onclick: more(id, name, isFile) }),
      make('button', { type: 'button', textContent: 'Less', title: 'Less like this', onclick: less }),
    ),
  );
}

/** A new search by this picture alone. */
function more(id, name, isFile) {
  return () => {
    terms = [];
    $('words').value = '';
    addTerm({ isMinus: false, label: name, source: isFile ? imageUrl('thumbnail', id) : undefined, term: { id } });
    scrollTo({ top: 0 });
  };
}

function addTerm(term) {
  terms = [...terms.filter((each) => each.term.id === undefined || each.term.id !== term.term.id), term];
  showTerms();
  void search();
}

function showTerms() {
  $('terms').replaceChildren(
    ...terms.map((term) => {
      const { isMinus, label, source } = term;
      const turn = () => {
        term.isMinus = !isMinus;
        showTerms();
        void search();
      };
      const remove = () => {
        terms = terms.filter((each) => each !== term);
        showTerms();
        void search();
      };
      return make(
        'li',
        { className: isMinus ? 'minus' : '' },
        make('button', {
          type: 'button',
          textContent: isMinus ? '−' : '+',
          title: isMinus ? 'Less like it' : 'More like it',
          onclick: turn,
        }),
        ...(source === undefined ? [] : [make('img', { src: source, alt: '' })]),
        make('span', { textContent: label }),
        make('button', { type: 'button', textContent: '×', title: `Remove ${label}`, onclick: remove }),
      );
    }),
  );
}

function addFile(file) {
  if (file === undefined) return;
  const reader = new FileReader();
  reader.onload = () => {
    // A type that the browser does not know is found out by the server.
    const data = String(reader.result).replace(/^data:(?!image\/)[^;,]*/, 'data:image/unknown');
    addTerm({ isMinus: false, label: file.name, source: URL.createObjectURL(file), term: { picture: data } });
  };
  reader.readAsDataURL(file);
}

function askForKey() {
  $('key-form').hidden = false;
  $('key').focus();
}

$('search').addEventListener('submit', (event) => {
  event.preventDefault();
  void search();
});
$('file').addEventListener('change', () => {
  addFile($('file').files[0]);
  $('file').value = '';
});
$('key-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const headers = { authorization: `Bearer ${$('key').value}` };
  const response = await fetch(`${base}session`, { method: 'POST', headers });
  $('key').value = '';
  if (!response.ok) return say('The server does not know this key.', true);
  $('key-form').hidden = true;
  void search();
});
addEventListener('dragover', (event) => {
  event.preventDefault();
  $('drop').hidden = false;
});
addEventListener('dragleave', (event) => {
  if (event.relatedTarget === null) $('drop').hidden = true;
});
addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').hidden = true;
  addFile(event.dataTransfer.files[0]);
});
if (document.documentElement.dataset.keys === 'yes') askForKey();
