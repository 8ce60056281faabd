// What names the members and the server: hello, status, configuration, operations, counters; each member by itself.
'use strict';
const { COMMENT, expectError } = require('./harness');

// What discovery ends with: waits for every member of the set to be known by its role.
async function topology(c) {
  const wanted = c.direct ? [] : await c.members();
  let description;
  let roles = {};
  for (let i = 0; i < 500; i += 1) {
    description = c.client.topology.description;
    roles = Object.fromEntries([...description.servers].map(([address, one]) => [address, one.type]));
    if (wanted.every((one) => one in roles) && !Object.values(roles).includes('Unknown')) break;
    await c.admin({ ping: 1 });
  }
  c.take();
  return { type: description.type, set: description.setName, members: roles, count: Object.keys(roles).length };
}

async function currentOpAggregated(c) {
  const cursor = c.client.db('admin').aggregate([{ $currentOp: { allUsers: true, idleConnections: false } }], { comment: COMMENT });
  return { inprog: await cursor.toArray(), ok: 1 };
}

// Every member by a direct connection of its own: the driver then drops none for a name that it did not dial.
async function eachMember(c) {
  const replies = [];
  for (const member of await c.members()) {
    const direct = c.connect(`mongodb://${member}/?directConnection=true&readPreference=primaryPreferred`);
    try {
      const hello = await direct.db('admin').command({ hello: 1 });
      const found = await direct.db(c.name).collection('crud').findOne({ _id: 12 });
      replies.push({ dialled: member, hello, found, config: await direct.db('admin').command({ replSetGetConfig: 1 }) });
      if (!hello.isWritablePrimary) replies.push(await expectError(() => direct.db(c.name).collection('crud').insertOne({ _id: 'no' })));
    } finally {
      await direct.close();
    }
  }
  return replies;
}

const admin = (command) => (c) => c.admin(command);

module.exports = {
  first: {
    topology, hello: admin({ hello: 1 }), legacy_hello: admin({ isMaster: 1 }), ismaster: admin({ ismaster: 1 }), ping: admin({ ping: 1 }), build_info: admin({ buildInfo: 1 }),
    connection_status: admin({ connectionStatus: 1, showPrivileges: true }), whatsmyuri: admin({ whatsmyuri: 1 }),
  },
  last: {
    repl_set_get_status: admin({ replSetGetStatus: 1 }), repl_set_get_config: admin({ replSetGetConfig: 1 }),
    system_replset: (c) => c.client.db('local').collection('system.replset').find().toArray(), server_status: admin({ serverStatus: 1 }),
    conn_pool_stats: admin({ connPoolStats: 1 }), current_op: admin({ currentOp: true, comment: COMMENT }), current_op_aggregated: currentOpAggregated,
    db_stats: (c) => c.db.command({ dbStats: 1 }), coll_stats: (c) => c.db.command({ collStats: 'crud' }), host_info: admin({ hostInfo: 1 }),
    unknown_command: (c) => expectError(() => c.db.command({ thereIsNoSuchCommand: 1 })), each_member: eachMember,
    own_database: (c) => c.client.db('admin').admin().listDatabases({ filter: { name: c.name }, nameOnly: true }),
  },
};
