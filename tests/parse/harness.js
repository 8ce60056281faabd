// Runs steps against one Parse Server and prints one JSON line for each: every response that it got, normalised.
'use strict';

// A connection for each request, the SDK's too: one that is kept may be closed by the server, as idle, at the moment that the
// next request is sent on it, which then ends in "fetch failed".
const fetchKept = globalThis.fetch;
globalThis.fetch = (url, options = {}) => {
  const headers = new Headers(options.headers);
  headers.set('connection', 'close');
  return fetchKept(url, { ...options, headers });
};

const Parse = require('parse/node');

const KEYS = { application: 'torana', rest: 'rest', javascript: 'javascript', master: 'master' };
// No step takes a second on an idle machine; one that hangs must end before the test does.
const STEP_MS_MAX = 60_000;

// What steps need: requests to the server, whose responses are kept until the step is printed.
class Context {
  // `readPreference` (SECONDARY, ...) is sent with every read of a class.
  constructor(url, readPreference) {
    Object.assign(this, { url, readPreference, responses: [], kept: {} });
    Parse.initialize(KEYS.application, KEYS.javascript, KEYS.master);
    Parse.serverURL = url;
    // The SDK would send again, seconds later, what was answered with an error that a step wants to see.
    Parse.CoreManager.set('REQUEST_ATTEMPT_LIMIT', 1);
  }

  // One request by REST. `options`: master, session (a token), headers, raw (the body as it is, of a type).
  async rest(method, path, body, options = {}) {
    // A connection that is kept may be closed by the server just as the next request is sent.
    const headers = { Connection: 'close', 'X-Parse-Application-Id': KEYS.application, ...options.headers };
    headers[options.master ? 'X-Parse-Master-Key' : 'X-Parse-REST-API-Key'] = options.master ? KEYS.master : KEYS.rest;
    if (options.session) headers['X-Parse-Session-Token'] = options.session;
    headers['Content-Type'] = options.type || 'application/json';
    const sent = body === undefined || options.raw ? body : JSON.stringify(body);
    const response = await fetch(this.url + path, { method, headers, body: sent });
    const text = await response.text();
    const got = json(text);
    const location = response.headers.get('location') ?? undefined;
    this.responses.push({ request: `${method} ${readable(path)}`, status: response.status, location, body: got });
    return got;
  }

  master(method, path, body, options = {}) {
    return this.rest(method, path, body, { ...options, master: true });
  }

  // A query by REST; values that are no strings are sent as JSON.
  find(name, parameters = {}, options = {}) {
    const all = this.readPreference ? { ...parameters, readPreference: this.readPreference } : parameters;
    const text = ([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)];
    return this.rest('GET', `/${name}?${new URLSearchParams(Object.entries(all).map(text))}`, undefined, options);
  }

  // A query by the SDK.
  query(name) {
    const query = new Parse.Query(name);
    if (this.readPreference) query.readPreference(this.readPreference);
    return query;
  }
}

// Without the read preference: who answers is to make no difference.
function readable(path) {
  return decodeURIComponent(path.replaceAll('+', ' ')).replace(/[?&]readPreference=\w+/, '');
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { text };
  }
}

// What an application sees of an error.
async function failure(call) {
  let got;
  try {
    got = await call();
  } catch (error) {
    return { type: error.constructor.name, code: error.code, message: error.message };
  }
  throw new Error(`expected an error, got ${JSON.stringify(got)}`);
}

// Ids, times, tokens and addresses, and nothing else. A replaced id keeps its identity: `id1` is the same object
// wherever it comes back.
class Normaliser {
  constructor(url) {
    Object.assign(this, { address: new URL(url).host, ids: new Map() });
  }

  learn(value) {
    if (!value || typeof value !== 'object') return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'objectId' && typeof inner === 'string') this.name('id', inner);
      else this.learn(inner);
    }
  }

  name(kind, value) {
    if (!this.ids.has(value)) this.ids.set(value, `<${kind}${this.ids.size + 1}>`);
    return this.ids.get(value);
  }

  line(record) {
    const text = JSON.stringify(record);
    // What came of it, as objects of the SDK tell their ids only then.
    this.learn(JSON.parse(text));
    return text
      .replaceAll(this.address, '<address>')
      // Times of the run; those that the steps write are of 2001.
      .replace(/\b20[2-9]\d-\d\d-\d\dT[\d:.]+Z/g, '<time>')
      .replace(/\br:[0-9a-f]{32}\b/g, (token) => this.name('token', token))
      // A file's name as it is stored.
      .replace(/\b[0-9a-f]{32}(?=_)/g, (id) => this.name('file', id))
      .replace(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, (id) => this.name('uuid', id))
      // The name that Parse gives to a user without one.
      .replace(/\b[A-Za-z0-9]{25}\b/g, (name) => this.name('name', name))
      .replace(/\b[A-Za-z0-9]{10}\b/g, (word) => this.ids.get(word) ?? word);
  }
}

function limited(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still running after ${STEP_MS_MAX} ms`)), STEP_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function run(parts, context) {
  const normaliser = new Normaliser(context.url);
  for (const [step, action] of parts.flatMap((part) => Object.entries(part))) {
    context.responses = [];
    const record = { step, responses: context.responses };
    try {
      record.result = await limited(action(context));
    } catch (error) {
      record.failed = { type: error.constructor.name, code: error.code ?? error.cause?.code, message: error.message };
    }
    // A result that is a response printed already would say the same twice.
    if (context.responses.some((response) => response.body === record.result)) delete record.result;
    process.stdout.write(normaliser.line(record) + '\n');
  }
}

module.exports = { Context, failure, run };
