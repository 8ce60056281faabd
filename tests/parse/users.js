// Users, their sessions, their roles, and what they may see.
'use strict';
const Parse = require('parse/node');
const { failure } = require('./harness');

const login = (c, username, password) => c.rest('POST', '/login', { username, password });

module.exports = {
  async sign_up(c) {
    const made = await c.rest('POST', '/users', { username: 'ann', password: 'secret', email: 'ann@example.com', phone: '1' });
    Object.assign(c.kept, { ann: made.objectId, session: made.sessionToken });
    await c.rest('POST', '/users', { username: 'ann', password: 'other' });
    await c.rest('POST', '/users', { username: 'other', password: 'other', email: 'ann@example.com' });
    await c.rest('POST', '/users', { username: 'nobody' });
  },
  async log_in(c) {
    c.kept.second = (await login(c, 'ann', 'secret')).sessionToken;
    await login(c, 'ann', 'wrong');
    await login(c, 'nobody', 'wrong');
    await c.rest('GET', '/users/me', undefined, { session: c.kept.second });
    await c.rest('GET', '/users/me', undefined, { session: 'r:00000000000000000000000000000000' });
  },
  async change_of_a_user(c) {
    await c.rest('PUT', `/users/${c.kept.ann}`, { phone: '2' }, { session: c.kept.session });
    await c.rest('PUT', `/users/${c.kept.ann}`, { phone: '3' });
    await c.rest('GET', `/users/${c.kept.ann}`, undefined, { session: c.kept.session });
    await c.find('users', { where: { phone: '2' } }, { master: true });
  },
  async sessions(c) {
    await c.rest('GET', '/sessions?order=createdAt', undefined, { session: c.kept.session });
    await c.rest('GET', '/sessions/me', undefined, { session: c.kept.session });
    await c.rest('POST', '/sessions', {}, { session: c.kept.session });
    await c.master('GET', '/sessions?count=1&limit=0');
  },
  async log_out(c) {
    await c.rest('POST', '/logout', {}, { session: c.kept.second });
    await c.rest('GET', '/users/me', undefined, { session: c.kept.second });
    await c.rest('GET', '/users/me', undefined, { session: c.kept.session });
  },
  async change_of_a_password(c) {
    await c.rest('PUT', `/users/${c.kept.ann}`, { password: 'newer' }, { session: c.kept.session });
    await c.rest('GET', '/users/me', undefined, { session: c.kept.session });
    await login(c, 'ann', 'secret');
    c.kept.session = (await login(c, 'ann', 'newer')).sessionToken;
  },
  async anonymous(c) {
    const authData = { anonymous: { id: '00000000-1111-2222-3333-444444444444' } };
    const first = await c.rest('POST', '/users', { authData });
    await c.rest('POST', '/users', { authData });
    await c.rest('PUT', `/users/${first.objectId}`, { username: 'bob', password: 'known' }, { session: first.sessionToken });
    Object.assign(c.kept, { bob: first.objectId, bobs: (await login(c, 'bob', 'known')).sessionToken });
  },
  async objects_of_a_user(c) {
    const ACL = { [c.kept.ann]: { read: true, write: true } };
    const diary = await c.rest('POST', '/classes/Diary', { text: 'mine', ACL }, { session: c.kept.session });
    c.kept.diary = diary.objectId;
    for (const session of [undefined, c.kept.bobs, c.kept.session]) {
      await c.rest('GET', `/classes/Diary/${diary.objectId}`, undefined, { session });
      await c.rest('PUT', `/classes/Diary/${diary.objectId}`, { text: 'changed' }, { session });
    }
  },
  async roles(c) {
    const bob = { __type: 'Pointer', className: '_User', objectId: c.kept.bob };
    const role = { name: 'readers', ACL: { '*': { read: true } }, users: { __op: 'AddRelation', objects: [bob] } };
    const { objectId } = await c.master('POST', '/roles', role);
    await c.master('PUT', `/classes/Diary/${c.kept.diary}`, { ACL: { 'role:readers': { read: true }, [c.kept.ann]: { read: true, write: true } } });
    await c.rest('GET', `/classes/Diary/${c.kept.diary}`, undefined, { session: c.kept.bobs });
    await c.rest('PUT', `/classes/Diary/${c.kept.diary}`, { text: 'by bob' }, { session: c.kept.bobs });
    const parent = { name: 'editors', ACL: { '*': { read: true } }, roles: { __op: 'AddRelation', objects: [{ __type: 'Pointer', className: '_Role', objectId }] } };
    await c.master('POST', '/roles', parent);
    await c.master('PUT', `/classes/Diary/${c.kept.diary}`, { ACL: { 'role:editors': { read: true, write: true } } });
    await c.rest('PUT', `/classes/Diary/${c.kept.diary}`, { text: 'by bob' }, { session: c.kept.bobs });
    await c.master('PUT', `/roles/${objectId}`, { users: { __op: 'RemoveRelation', objects: [bob] } });
    await c.rest('GET', `/classes/Diary/${c.kept.diary}`, undefined, { session: c.kept.bobs });
    await c.find('roles', { order: 'name' });
    await c.master('POST', '/roles', { name: 'readers', ACL: {} });
  },
  async sdk_users(c) {
    const user = await Parse.User.signUp('cleo', 'secret', { age: 30 });
    const again = await Parse.User.logIn('cleo', 'secret');
    again.set('age', 31);
    await again.save(null, { sessionToken: again.getSessionToken() });
    const session = await Parse.Session.current({ sessionToken: again.getSessionToken() }).catch((error) => error.message);
    const me = await Parse.User.me(again.getSessionToken());
    return [user, again, session, me, await failure(() => Parse.User.logIn('cleo', 'wrong'))];
  },
  async removal_of_a_user(c) {
    await c.rest('DELETE', `/users/${c.kept.bob}`, undefined, { session: c.kept.session });
    await c.rest('DELETE', `/users/${c.kept.bob}`, undefined, { session: c.kept.bobs });
    await login(c, 'bob', 'known');
    await c.find('users', { order: 'username', keys: 'username' }, { master: true });
  },
};
