// What the shell's helpers show of the members and the server; each member by itself.
function topology() {
  const wanted = client.topology.description.type === 'Single' ? [] : db.hello().hosts;
  let description;
  let roles = {};
  for (const attempt of numbers(0, 200)) {
    description = client.topology.description;
    roles = Object.fromEntries([...description.servers].map(([address, one]) => [address, one.type]));
    if (wanted.every((one) => one in roles) && !Object.values(roles).includes('Unknown')) break;
    db.adminCommand({ ping: 1 });
  }
  recorded.splice(0);
  return { type: description.type, set: description.setName, members: roles, count: Object.keys(roles).length };
}

// Every member by a direct connection of its own: the driver then drops none for a name that it did not dial.
function eachMember() {
  return db.hello().hosts.map((member) => {
    const direct = new Mongo(`mongodb://${member}/?directConnection=true&readPreference=primaryPreferred&monitorCommands=true`);
    record(direct);
    const own = direct.getDB(db.getName());
    const seen = { dialled: member, hello: own.hello(), found: own.crud.findOne({ _id: 12 }), status: own.adminCommand({ replSetGetConfig: 1 }) };
    direct.close();
    return seen;
  });
}

function serverFirst() {
  return {
    topology, hello: () => db.hello(), legacy_hello: () => db.isMaster(), ping: () => db.adminCommand({ ping: 1 }), build_info: () => db.serverBuildInfo(),
    connection_status: () => db.runCommand({ connectionStatus: 1, showPrivileges: true }), whatsmyuri: () => db.adminCommand({ whatsmyuri: 1 }),
    own_database: () => db.adminCommand({ listDatabases: 1, nameOnly: true, filter: { name: db.getName() } }), read_preference: () => db.getMongo().getReadPrefMode(),
  };
}

function serverLast() {
  return {
    repl_set_get_status: () => rs.status(), repl_set_get_config: () => rs.conf(), rs_hello: () => rs.hello(), system_replset: () => db.getSiblingDB('local').system.replset.find().toArray(),
    secondaries_behind: () => { const info = rs.printSecondaryReplicationInfo(); return info && Object.keys(info.value ?? info); },
    // The shell answers db.currentOp() by an aggregation; both ways are asked.
    current_op: () => db.adminCommand({ currentOp: true, comment: COMMENT }), current_op_shell: () => db.currentOp({ 'command.comment': COMMENT }), current_op_all: () => db.currentOp(true),
    server_status: () => db.serverStatus(), conn_pool_stats: () => db.adminCommand({ connPoolStats: 1 }), db_stats: () => db.stats(), coll_stats: () => db.runCommand({ collStats: 'crud' }),
    host_info: () => db.hostInfo(), unknown_command: () => expectError(() => db.runCommand({ thereIsNoSuchCommand: 1 })), each_member: eachMember,
  };
}
