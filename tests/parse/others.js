// Files, the configuration, installations, hooks, cloud functions, requests that are sent twice.
'use strict';
const Parse = require('parse/node');

module.exports = {
  async files(c) {
    const text = 'a file of some words\n'.repeat(3);
    const file = await c.master('POST', '/files/words.txt', text, { raw: true, type: 'text/plain' });
    c.kept.file = file.name;
    await c.rest('GET', `/files/torana/${file.name}`);
    await c.rest('GET', `/files/torana/metadata/${file.name}`);
    const holder = await c.rest('POST', '/classes/Holder', { file: { __type: 'File', name: file.name } });
    await c.rest('GET', `/classes/Holder/${holder.objectId}`);
    await c.rest('GET', '/files/torana/no_such_file.txt');
  },
  // Of several chunks, one of them short.
  async a_large_file(c) {
    const bytes = new Uint8Array(700_001).map((_, index) => index % 251);
    const { url } = await c.master('POST', '/files/large.bin', bytes, { raw: true, type: 'application/octet-stream' });
    const got = new Uint8Array(await (await fetch(url)).arrayBuffer());
    return [got.length, got.every((byte, index) => byte === index % 251)];
  },
  async removal_of_a_file(c) {
    await c.rest('DELETE', `/files/${c.kept.file}`);
    await c.master('DELETE', `/files/${c.kept.file}`);
    await c.rest('GET', `/files/torana/${c.kept.file}`);
    await c.master('DELETE', `/files/${c.kept.file}`);
  },
  async sdk_file(c) {
    const file = new Parse.File('sdk.txt', { base64: Buffer.from('by the SDK').toString('base64') }, 'text/plain');
    await file.save({ useMasterKey: true });
    const text = await (await fetch(file.url())).text();
    return [file.name(), text];
  },
  async configuration(c) {
    await c.rest('GET', '/config');
    await c.master('PUT', '/config', { params: { limit: 10, name: 'x', hidden: true }, masterKeyOnly: { hidden: true } });
    await c.rest('GET', '/config');
    await c.master('PUT', '/config', { params: { name: { __op: 'Delete' } } });
    await c.master('GET', '/config');
    return (await Parse.Config.get()).get('limit');
  },
  async installations(c) {
    const device = { deviceType: 'ios', deviceToken: 'a'.repeat(64), installationId: '00000000-aaaa-bbbb-cccc-000000000001' };
    await c.rest('POST', '/installations', { ...device, channels: ['news'] });
    await c.rest('POST', '/installations', device);
    await c.rest('POST', '/installations', { ...device, installationId: '00000000-aaaa-bbbb-cccc-000000000002' });
    await c.master('GET', '/installations?order=installationId');
  },
  async hooks(c) {
    const url = 'http://127.0.0.1:9/hook';
    await c.master('POST', '/hooks/functions', { functionName: 'afar', url });
    await c.master('POST', '/hooks/functions', { functionName: 'afar', url });
    await c.master('PUT', '/hooks/functions/afar', { url: url + '2' });
    await c.master('GET', '/hooks/functions/afar');
    await c.master('PUT', '/hooks/functions/afar', { __op: 'Delete' });
    await c.master('POST', '/hooks/triggers', { className: 'Game', triggerName: 'beforeSave', url });
    await c.master('GET', '/hooks/triggers/Game/beforeSave');
    await c.master('PUT', '/hooks/triggers/Game/beforeSave', { __op: 'Delete' });
  },
  async triggers(c) {
    for (const n of [1, 2, 0]) await c.rest('POST', '/classes/Watched', { n });
    await c.find('classes/Watched', { order: 'n' });
    await c.find('classes/Trace', { order: 'n' });
  },
  async functions(c) {
    await c.rest('POST', '/functions/total', { factor: 2 });
    await c.rest('POST', '/functions/fails', {});
    await c.rest('POST', '/functions/missing', {});
    return Parse.Cloud.run('total', { factor: 3 });
  },
  async a_request_sent_twice(c) {
    const headers = { 'X-Parse-Request-Id': 'request-one' };
    await c.rest('POST', '/classes/Once', { n: 1 }, { headers });
    await c.rest('POST', '/classes/Once', { n: 1 }, { headers });
    await c.find('classes/Once', { count: 1 });
  },
};
