// The status page's own script: it loads the page again, sends the actions of its buttons to the API, and shows dead letters
// and live views.
// Texts from the agent are set as text, never as HTML.
'use strict';

const byID = id => document.getElementById(id);
const seconds = Number(document.body.dataset.refresh);

// send makes a request to the API and returns its JSON. A failure is an error with the agent's text.
async function send(method, path, body) {
  const options = {method};
  if (method === 'POST') {
    options.headers = {'Content-Type': 'application/json'};
    options.body = JSON.stringify(body || {});
  }
  const response = await fetch(path, options);
  const text = await response.text();
  if (!response.ok) throw new Error(text.trim() || response.statusText);
  return text ? JSON.parse(text) : {};
}

function report(text) { byID('outcome').textContent = text; }

function element(tag, text, attributes) {
  const e = document.createElement(tag);
  e.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) e.setAttribute(name, value);
  return e;
}

// refresh replaces the parts of the page that show the status. Opened details stay open. It waits while a button is armed
// or a text is selected.
async function refresh() {
  if (document.hidden || document.querySelector('.armed') || !getSelection().isCollapsed) return;
  let text;
  try {
    const response = await fetch(location.href);
    if (!response.ok) throw new Error(response.status + ' ' + response.statusText);
    text = await response.text();
  } catch (error) {
    byID('away').textContent = 'The agent does not respond (' + error.message + '). The page is as old as it says.';
    return;
  }
  byID('away').textContent = '';
  const fresh = new DOMParser().parseFromString(text, 'text/html');
  const open = new Set([...document.querySelectorAll('[data-live] details[open]')].map(e => e.id));
  const focused = document.activeElement && document.activeElement.id;
  for (const part of document.querySelectorAll('[data-live]')) {
    const other = fresh.getElementById(part.id);
    if (!other) continue;
    part.replaceChildren(...other.childNodes);
    for (const e of part.querySelectorAll('details')) if (open.has(e.id)) e.open = true;
  }
  if (focused && byID(focused)) byID(focused).focus();
  document.title = fresh.title;
  const dead = byID('dead');
  if (dead.dataset.rejected !== fresh.getElementById('dead').dataset.rejected) {
    dead.dataset.rejected = fresh.getElementById('dead').dataset.rejected;
    listDead();
  }
}

// confirmed reports whether the button was pressed a second time. The first press changes its text.
function confirmed(button) {
  if (!button.dataset.confirm || button.classList.contains('armed')) return true;
  const before = button.textContent;
  button.textContent = button.dataset.confirm;
  button.classList.add('armed');
  setTimeout(() => {
    button.textContent = before;
    button.classList.remove('armed');
  }, 5000);
  return false;
}

// act runs the action of a button: on the destination of its card, or in one request on all destinations of its group.
async function act(button) {
  const {action} = button.dataset, group = button.closest('[data-group]');
  const places = group ? [...group.querySelectorAll('[data-stream]')] : [button.closest('[data-stream]')];
  const destinations = places.map(({dataset: {stream, destination}}) => ({stream, destination}));
  const {done, refused} = await send('POST', '/v1/destinations/' + action, {destinations});
  const name = at => at.stream + ' to ' + at.destination;
  const what = destinations.length === 1 ? name(destinations[0]) : done + ' destinations';
  return action + ': ' + what + (refused.length ? '; not done: ' + refused.slice(0, 3).map(r => name(r) + ': ' + r.reason).join('; ') : '');
}

async function actOnDead(button) {
  const {dead: action, id} = button.dataset;
  const choice = id ? {ids: [Number(id)]} : {all: true};
  let done = 0, left = [];
  for (;;) {
    const outcome = await send('POST', '/v1/dead/' + action, choice);
    done += outcome.requeued + outcome.dropped;
    left.push(...outcome.refused.map(r => r.id + ': ' + r.reason));
    if (outcome.stopped) left.push(outcome.stopped);
    if (!outcome.next || outcome.stopped) break;
    choice.after = outcome.next;
    choice.until = outcome.until;
  }
  await listDead();
  return action + ': ' + done + (done === 1 ? ' dead letter' : ' dead letters') + (left.length ? '; not done: ' + left.slice(0, 3).join('; ') : '');
}

// letterRow is a dead letter in the table.
function letterRow(letter) {
  const row = element('tr', '');
  const what = element('td', letter.damage ? 'letter ' + letter.id + ' cannot be read: ' + letter.damage : letter.stream + ' to ' + letter.destination + ', offset ' + letter.offset + (letter.key ? ', key ' + letter.key : ''));
  if (!letter.damage) what.append(element('p', letter.reason, {class: 'error'}));
  const actions = element('div', '', {class: 'actions'});
  if (letter.refused_at) actions.append(element('time', letter.refused_at.slice(0, 19).replace('T', ' ') + ' UTC', {class: 'soft'}));
  actions.append(
    element('button', 'Show data', {type: 'button', 'data-show': letter.id}),
    element('button', 'Requeue', {type: 'button', 'data-dead': 'requeue', 'data-id': letter.id}),
    element('button', 'Drop', {type: 'button', 'data-dead': 'drop', 'data-id': letter.id, 'data-confirm': 'Drop for good?'}));
  what.append(actions);
  row.append(element('td', String(letter.id), {class: 'number wide'}), what);
  return row;
}

// letters is the number of dead letters that the page shows at most.
let letters = 5;

// listDead shows the dead letters.
async function listDead() {
  const section = byID('dead');
  if (!('offered' in section.dataset)) return;
  const list = await send('GET', '/v1/dead?limit=' + letters);
  section.hidden = list.letters.length === 0;
  byID('letters').replaceChildren(...list.letters.map(letterRow));
  byID('more').hidden = !list.next;
}

async function showMore() {
  letters = Math.min(letters + 50, 1000);
  await listDead();
}

// show shows or hides the data of a letter below it.
async function show(button) {
  const cell = button.closest('td'), shown = cell.querySelector('.data');
  if (shown) {
    shown.remove();
    return;
  }
  const letter = await send('GET', '/v1/dead/' + button.dataset.show);
  const text = letter.data !== undefined ? letter.data : 'base64: ' + letter.data_base64;
  cell.append(element('pre', text + '\n\n' + JSON.stringify(letter.attributes), {class: 'error data'}));
}

// The live view of one stream: its events as they are appended, the newest first.
const tail = {stream: '', key: '', source: null, after: '', rows: 200};

// openTail connects. A new view begins with the last events; one that was paused goes on where it was.
function openTail() {
  const query = new URLSearchParams(tail.after ? {after: tail.after} : {last: 20});
  if (tail.key) query.append('key', tail.key);
  const path = '/v1/streams/' + encodeURIComponent(tail.stream) + '/tail?' + query;
  const source = new EventSource(path);
  tail.source = source;
  byID('tail-pause').textContent = 'Pause view';
  tailState('connecting');
  source.onmessage = message => {
    const event = JSON.parse(message.data);
    tail.after = message.lastEventId;
    addTailRow(String(event.offset), tailText(event), event.time.slice(0, 19).replace('T', ' ') + ' UTC' + (event.key ? ', key ' + event.key : ''));
    tailState(event.lag > 100 ? event.lag + ' events behind' : 'live');
  };
  source.addEventListener('skipped', message => {
    const {from, next, reason} = JSON.parse(message.data);
    const why = {behind: 'the view was too far behind', gone: 'the log has them no more', damaged: 'the log is damaged there'}[reason];
    tail.after = message.lastEventId;
    addTailRow(from + (next - 1 > from ? ' to ' + (next - 1) : ''), null, 'not shown: ' + why);
  });
  source.addEventListener('position', message => {
    tail.after = message.lastEventId;
    tailState('live');
  });
  source.onerror = async () => {
    tailState('connecting again');
    if (source.readyState !== EventSource.CLOSED) return;
    const abort = new AbortController(); // the source does not say why
    let reason = 'the agent does not respond';
    try {
      const response = await fetch(path, {signal: abort.signal});
      reason = response.ok ? 'the connection was closed' : (await response.text()).trim() || response.statusText;
      abort.abort();
    } catch {}
    if (tail.source !== source) return;
    pauseTail();
    tailState(reason);
  };
}

function tailState(text) { byID('tail-state').textContent = text; }

function tailText(event) {
  let text = event.data !== undefined ? event.data : 'base64: ' + (event.data_base64 || '');
  if (event.cut) text += ' … (cut; the data has ' + event.bytes + ' bytes)';
  return event.attributes ? text + '\n' + JSON.stringify(event.attributes) : text;
}

// addTailRow adds a row on top, without data for skipped events. The oldest row goes.
function addTailRow(offset, data, about) {
  const row = element('tr', ''), cell = element('td', '');
  if (data !== null) cell.append(element('pre', data));
  cell.append(element('span', about, {class: 'soft'}));
  row.append(element('td', offset, {class: 'number'}), cell);
  const rows = byID('tail-events');
  rows.prepend(row);
  while (rows.childElementCount > tail.rows) rows.lastElementChild.remove();
}

function pauseTail() {
  if (tail.source) tail.source.close();
  tail.source = null;
  byID('tail-pause').textContent = 'Go on';
}

// restartTail shows the last events of a stream, or of one of its keys.
function restartTail(stream, key) {
  pauseTail();
  Object.assign(tail, {stream, key, after: ''});
  byID('tail-title').textContent = 'Live view of ' + stream;
  byID('tail-key').value = key;
  byID('tail-events').replaceChildren();
  byID('tail').hidden = false;
  openTail();
}

function actOnTail(action) {
  if (action === 'clear') {
    byID('tail-events').replaceChildren();
  } else if (action === 'pause' && !tail.source) {
    openTail();
  } else {
    pauseTail();
    tailState('paused');
    byID('tail').hidden = action === 'close';
  }
}

byID('tail-filter').addEventListener('submit', event => {
  event.preventDefault();
  restartTail(tail.stream, byID('tail-key').value);
});

document.addEventListener('click', async event => {
  const button = event.target.closest('button');
  if (!button || button.type === 'submit' || !confirmed(button)) return;
  if (button.dataset.tail) return restartTail(button.dataset.tail, '');
  if (button.dataset.tailAct) return actOnTail(button.dataset.tailAct);
  button.classList.remove('armed');
  button.disabled = true;
  try {
    if (button.dataset.show) await show(button);
    else if ('more' in button.dataset) await showMore();
    else if (button.dataset.dead) report(await actOnDead(button));
    else report(await act(button));
  } catch (error) {
    report(error.message);
  }
  button.disabled = false;
  if (!button.dataset.show && !('more' in button.dataset)) await refresh();
});

listDead().catch(error => report(error.message));
if (seconds > 0) setInterval(refresh, seconds * 1000);
