// Schemas: classes, fields, indexes, permissions; what changes of them do to objects.
'use strict';
const Parse = require('parse/node');

const SCHEMA = '/schemas/Shape';

module.exports = {
  async creation_of_a_class(c) {
    await c.master('POST', SCHEMA, { className: 'Shape', fields: { name: { type: 'String', required: true }, sides: { type: 'Number', defaultValue: 4 }, area: { type: 'Polygon' } } });
    await c.master('POST', SCHEMA, { className: 'Shape' });
    await c.master('GET', SCHEMA);
    await c.rest('POST', '/classes/Shape', { name: 'square' });
    await c.rest('POST', '/classes/Shape', { sides: 3 });
    await c.find('classes/Shape', { order: 'name' });
  },
  async new_fields(c) {
    // One by one: Parse adds several side by side, in no order.
    const fields = { colour: { type: 'String' }, owner: { type: 'Pointer', targetClass: '_User' }, parts: { type: 'Relation', targetClass: 'Shape' } };
    for (const [name, field] of Object.entries(fields)) await c.master('PUT', SCHEMA, { className: 'Shape', fields: { [name]: field } });
    await c.master('PUT', SCHEMA, { className: 'Shape', fields: { colour: { type: 'Number' } } });
    await c.rest('POST', '/classes/Shape', { name: 'round', sides: 0, colour: 'red', found: true });
    await c.master('GET', SCHEMA);
  },
  async fewer_fields(c) {
    await c.master('PUT', SCHEMA, { className: 'Shape', fields: { colour: { __op: 'Delete' }, missing: { __op: 'Delete' } } });
    await c.master('PUT', SCHEMA, { className: 'Shape', fields: { colour: { __op: 'Delete' } } });
    await c.find('classes/Shape', { order: 'name' });
    await c.rest('POST', '/classes/Shape', { name: 'three', colour: 3 });
    await c.find('classes/Shape', { where: { colour: 3 } });
  },
  async indexes(c) {
    await c.master('PUT', SCHEMA, { className: 'Shape', indexes: { by_name: { name: 1, sides: -1 } } });
    await c.master('PUT', SCHEMA, { className: 'Shape', indexes: { by_name: { name: 1 } } });
    await c.master('PUT', SCHEMA, { className: 'Shape', indexes: { by_missing: { missing: 1 } } });
    await c.master('GET', `/classes/Shape?${new URLSearchParams({ hint: 'by_name', order: 'name', keys: 'name' })}`);
    await c.master('PUT', SCHEMA, { className: 'Shape', indexes: { by_name: { __op: 'Delete' } } });
    await c.master('GET', SCHEMA);
  },
  async permissions(c) {
    await c.master('PUT', SCHEMA, { className: 'Shape', classLevelPermissions: { find: {}, get: { '*': true }, create: { '*': true }, update: {}, delete: {}, addField: {}, count: {} } });
    await c.find('classes/Shape', { order: 'name' });
    await c.find('classes/Shape', { count: 1, limit: 0 });
    await c.rest('POST', '/classes/Shape', { name: 'new', another: 1 });
    await c.find('classes/Shape', { order: 'name' }, { master: true });
  },
  async purge_and_removal(c) {
    await c.master('DELETE', SCHEMA);
    await c.master('DELETE', '/purge/Shape');
    await c.find('classes/Shape', { count: 1 }, { master: true });
    await c.master('DELETE', SCHEMA);
    await c.master('GET', SCHEMA);
    await c.master('GET', '/classes/Shape');
  },
  // A class of the same name begins anew: nothing of the old one may show.
  async the_same_class_again(c) {
    await c.master('POST', SCHEMA, { className: 'Shape', fields: { sides: { type: 'String' } } });
    await c.find('classes/Shape', { count: 1 });
    await c.rest('POST', '/classes/Shape', { sides: 'four' });
    await c.find('classes/Shape', { count: 1 });
    await c.master('DELETE', '/purge/NoSuchClass');
  },
  async many_classes_at_once(c) {
    const names = Array.from({ length: 8 }, (_, n) => `Fresh${n}`);
    await Promise.all(names.flatMap((name) => [1, 2].map((n) => new Parse.Object(name, { n, [`field${n}`]: true }).save())));
    const found = [];
    for (const name of names) found.push([name, await c.query(name).ascending('n').find()]);
    return found;
  },
  async classes_of_all(c) {
    const { results } = await Parse.Schema.all().then((all) => ({ results: all }));
    // Parse makes its own classes side by side, in no order.
    return results.map((schema) => schema.className).sort();
  },
};
