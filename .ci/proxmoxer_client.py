"""Uses the served sandbox through proxmoxer, a client that knows nothing of pvectl.

proxmoxer_client.py URL TOKEN CERTIFICATE
"""

import sys
from urllib.parse import urlsplit

from proxmoxer import ProxmoxAPI, ResourceException
from proxmoxer_tasks import finish

url, token, certificate = sys.argv[1:]
place = urlsplit(url)
identity, secret = token.split("=", 1)
user, token_name = identity.split("!", 1)
common = {"port": place.port, "verify_ssl": certificate, "timeout": 30}

by_token = ProxmoxAPI(place.hostname, user=user, token_name=token_name, token_value=secret, **common)
by_password = ProxmoxAPI(place.hostname, user="root@pam", password="sandbox", **common)

for way, pve in [("token", by_token), ("password", by_password)]:
    nodes = sorted(node["node"] for node in pve.nodes.get())
    assert nodes == ["pve1", "pve2", "pve3"], nodes
    print(f"ok: nodes by {way}")

    vmid = int(pve.cluster.nextid.get())
    vms = pve.nodes("pve2").qemu
    finish(pve, vms.create(vmid=vmid, name="by-proxmoxer", cores=2, memory=1024, scsi0="local-lvm:4"))
    config = vms(vmid).config.get()
    assert config["name"] == "by-proxmoxer" and config["cores"] == 2, config
    assert config["scsi0"].endswith("size=4G"), config
    finish(pve, vms(vmid).status.start.post())
    assert vms(vmid).status.current.get()["status"] == "running"
    try:
        vms(vmid).delete()
        raise SystemExit("a running VM was deleted")
    except ResourceException as error:
        assert error.status_code == 500 and "is running" in str(error), error
        print("ok: a running VM is not deleted")
    finish(pve, vms(vmid).status.stop.post())
    vms(vmid).config.put(description="changed")
    assert vms(vmid).config.get()["description"].strip() == "changed"
    finish(pve, vms(vmid).delete())
    left = [guest["vmid"] for guest in pve.cluster.resources.get(type="vm")]
    assert vmid not in left and 100 in left, left

    container = int(pve.cluster.nextid.get())
    template = next(v["volid"] for v in pve.nodes("pve1").storage("local").content.get(content="vztmpl"))
    containers = pve.nodes("pve1").lxc
    finish(pve, containers.create(vmid=container, hostname="ct", ostemplate=template, rootfs="local-lvm:4"))
    finish(pve, containers(container).status.start.post())
    finish(pve, containers(container).status.stop.post())
    finish(pve, containers(container).delete())

log = by_token.nodes("pve2").tasks.get(limit=1)
assert log and by_token.nodes("pve2").tasks(log[0]["upid"]).log.get()[-1]["t"] == "TASK OK"
print("ok: task log")
