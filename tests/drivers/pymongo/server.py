"""What names the members and the server: hello, status, configuration, operations, counters; each member by itself."""

import sys

from harness import COMMENT, expect_error
from pymongo import ReadPreference


def topology(c):
    """What discovery ends with: waits for every member of the set to be known by its role."""
    wanted = c.members() if not c.direct else []
    known = c.client.topology_description.server_descriptions()
    for _ in range(500):
        known = c.client.topology_description.server_descriptions()
        roles = {f"{host}:{port}": one.server_type_name for (host, port), one in known.items()}
        if set(wanted) <= set(roles) and "Unknown" not in roles.values():
            break
        c.db.command("ping")
    c.recorder.take()
    description = c.client.topology_description
    return {"type": description.topology_type_name, "set": description.replica_set_name, "members": roles, "count": len(roles)}


def admin(*names, **fields):
    """One step that sends the first of `names` as a command to `admin` and prints the whole reply."""
    return lambda c: c.client.admin.command(*names, **fields)


def current_op(c):
    return c.client.admin.command("currentOp", True, comment=COMMENT)


def current_op_aggregated(c):
    with c.client.admin.aggregate([{"$currentOp": {"allUsers": True, "idleConnections": False}}], comment=COMMENT) as cursor:
        return {"inprog": list(cursor), "ok": 1}


def unknown_command(c):
    return [expect_error(lambda: c.db.command("thereIsNoSuchCommand")), expect_error(lambda: c.db.command("find", "crud", noSuchField=1))]


def each_member(c):
    """Every member by a direct connection of its own: the driver then drops none for a name that it did not dial."""
    replies = []
    for member in c.members():
        direct = c.connect(f"mongodb://{member}/?directConnection=true&readPreference=primaryPreferred")
        try:
            hello = direct.admin.command("hello")
            found = direct[c.name].get_collection("crud", read_preference=ReadPreference.SECONDARY_PREFERRED).find_one({"_id": 12})
            replies.append({"dialled": member, "hello": hello, "found": found, "config": direct.admin.command("replSetGetConfig")})
            if not hello["isWritablePrimary"]:
                replies.append(expect_error(lambda: direct[c.name].crud.insert_one({"_id": "no"})))
        finally:
            direct.close()
    return replies


def own_database(c):
    listed = c.client.list_databases(filter={"name": c.name}, nameOnly=True)
    return [one["name"] for one in listed]


def system_replset(c):
    return list(c.client.local["system.replset"].find())


FIRST = [
    ("topology", topology), ("hello", admin("hello")), ("legacy_hello", admin("isMaster")), ("ismaster", admin("ismaster")), ("ping", admin("ping")),
    ("build_info", admin("buildInfo")), ("connection_status", admin("connectionStatus", 1, showPrivileges=True)), ("whatsmyuri", admin("whatsmyuri")),
]
STEPS = [
    ("repl_set_get_status", admin("replSetGetStatus")), ("repl_set_get_config", admin("replSetGetConfig")), ("system_replset", system_replset),
    ("server_status", admin("serverStatus")), ("conn_pool_stats", admin("connPoolStats")), ("current_op", current_op),
    ("current_op_aggregated", current_op_aggregated), ("db_stats", lambda c: c.db.command("dbStats")), ("coll_stats", lambda c: c.db.command("collStats", "crud")),
    ("host_info", admin("hostInfo")), ("get_parameter", admin("getParameter", 1, logLevel=1)), ("unknown_command", unknown_command),
    ("each_member", each_member), ("own_database", own_database),
]
