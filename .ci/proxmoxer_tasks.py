"""What the proxmoxer clients have in common: waiting for a task."""

import time


def finish(pve, upid):
    """Waits for a task and insists that it went well."""
    node = upid.split(":")[1]
    deadline = time.monotonic() + 60
    while (status := pve.nodes(node).tasks(upid).status.get())["status"] == "running":
        assert time.monotonic() < deadline, f"{upid} does not end"
        time.sleep(0.1)
    assert status["exitstatus"] == "OK", status
    print("ok:", status["type"], status["id"], "by", status["user"])
