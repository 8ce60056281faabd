// The application's code inside Parse Server: triggers and functions that read and write by themselves.
'use strict';
/* global Parse */

const master = { useMasterKey: true };

Parse.Cloud.beforeSave('Watched', async (request) => {
  if (request.object.get('n') === 0) throw new Parse.Error(142, 'n may not be 0');
  request.object.set('before', await new Parse.Query('Watched').count(master));
});

Parse.Cloud.afterSave('Watched', async (request) => {
  const seen = await new Parse.Query('Watched').get(request.object.id, master);
  await new Parse.Object('Trace', { n: seen.get('n'), before: seen.get('before') }).save(null, master);
});

Parse.Cloud.define('total', async (request) => {
  const [{ total }] = await new Parse.Query('City').aggregate([{ $group: { _id: null, total: { $sum: '$n' } } }]);
  return total * request.params.factor;
});

Parse.Cloud.define('fails', () => {
  throw new Parse.Error(141, 'it does, always');
});
