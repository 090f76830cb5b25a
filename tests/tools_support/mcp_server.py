"""An MCP server over standard input and output, with the standard library alone."""

import json
import os
import sys
import time

TOOLS = [
    {
        "name": "opening_hours",
        "description": "The opening hours of a shop on a day of the week.",
        "inputSchema": {
            "type": "object",
            "required": ["day"],
            "properties": {"day": {"type": "string"}},
        },
    },
    {
        "name": "shop.secret",
        "description": "Says which variables of the environment the server has.",
        "inputSchema": {"type": "object"},
    },
    {
        "name": "fail",
        "description": "Fails, sleeps or dies.",
        "inputSchema": {"type": "object", "properties": {"how": {"type": "string"}}},
    },
]


def text(words, error=False):
    return {"content": [{"type": "text", "text": words}], "isError": error}


def call(name, arguments):
    if name == "opening_hours":
        return text("From 9 to 5 on " + arguments["day"])
    if name == "shop.secret":
        return text(" ".join(sorted(os.environ)))
    if arguments.get("how") == "die":
        sys.exit(1)
    if arguments.get("how") == "sleep":
        time.sleep(600)
    return text("the till is empty", error=True)


def answer(request):
    method, params = request["method"], request.get("params") or {}
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "shop", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return call(params["name"], params.get("arguments") or {})
    return None


print("the server starts", file=sys.stderr)
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    reply = {"jsonrpc": "2.0", "id": request["id"]}
    result = answer(request)
    if result is None:
        reply["error"] = {"code": -32601, "message": "no such method"}
    else:
        reply["result"] = result
    print(json.dumps(reply), flush=True)
