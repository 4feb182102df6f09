"""Uses a served host through proxmoxer, as root by token and as a user by password.

proxmoxer_served.py URL TOKEN CERTIFICATE PVECTL
"""

import subprocess
import sys
from urllib.parse import urlsplit

from proxmoxer import ProxmoxAPI, ResourceException
from proxmoxer.backends.https import AuthenticationError
from proxmoxer_tasks import finish

url, token, certificate, pvectl = sys.argv[1:]
place = urlsplit(url)
identity, secret = token.split("=", 1)
user, token_name = identity.split("!", 1)
common = {"port": place.port, "verify_ssl": certificate, "timeout": 30}


def refused(code, text, call):
    """Insists that a call is refused with this status and these words."""
    try:
        call()
    except ResourceException as error:
        assert error.status_code == code and text in str(error), error
        print("ok: refused:", text)
    else:
        raise SystemExit(f"this went through, and should not: {text}")


def log_in(name, password):
    return ProxmoxAPI(place.hostname, user=name, password=password, **common)


root = ProxmoxAPI(place.hostname, user=user, token_name=token_name, token_value=secret, **common)
[node] = [node["node"] for node in root.nodes.get()]
vms = root.nodes(node).qemu
vmid = int(root.cluster.nextid.get())
finish(root, vms.create(vmid=vmid, name="by-proxmoxer", cores=2, memory=512, scsi0="local:1"))
finish(root, vms.create(vmid=vmid + 1, name="another", memory=512, scsi0="local:1"))
config = vms(vmid).config.get()
assert config["name"] == "by-proxmoxer" and config["cores"] == 2, config

root.access.users.create(userid="ann@pve", password="correct horse")
refused(500, "already exists", lambda: root.access.users.create(userid="ann@pve", password="correct horse"))
root.access.acl.put(path=f"/vms/{vmid}", users="ann@pve", roles="PVEVMAdmin")
try:
    log_in("ann@pve", "wrong horse")
    raise SystemExit("a wrong password was let in")
except AuthenticationError:
    print("ok: a wrong password is not let in")
ann = log_in("ann@pve", "correct horse")
assert [vm["vmid"] for vm in ann.cluster.resources.get(type="vm")] == [vmid]
assert [vm["vmid"] for vm in ann.nodes(node).qemu.get()] == [vmid]
refused(403, "VM.Audit", lambda: ann.nodes(node).qemu(vmid + 1).config.get())
# A kernel of the host is the host's own affair.
subprocess.run([pvectl, "vm", "update", str(vmid), "--kernel", "kernel", "--unset", "bios", "--quiet"], check=True)
vm = ann.nodes(node).qemu(vmid)
finish(ann, vm.status.start.post())
assert vm.status.current.get()["status"] == "running"
refused(500, "is running", lambda: vm.delete())
vm.config.put(description="changed")
assert vm.config.get()["description"].strip() == "changed"
finish(ann, vm.status.stop.post())
finish(ann, vm.snapshot.create(snapname="before"))
assert "before" in [snapshot["name"] for snapshot in vm.snapshot.get()]
finish(ann, vm.snapshot("before").delete())
log = ann.nodes(node).tasks.get()
assert log and all(task["user"] == "ann@pve" for task in log), log

own = ann.access.users("ann@pve").token("ci").post(privsep=0)
by_token = ProxmoxAPI(place.hostname, user="ann@pve", token_name="ci", token_value=own["value"], **common)
assert [vm["vmid"] for vm in by_token.cluster.resources.get(type="vm")] == [vmid]
finish(by_token, by_token.nodes(node).qemu(vmid).delete())
root.access.users("ann@pve").token("ci").delete()
refused(401, "", lambda: by_token.version.get())
root.access.users("ann@pve").delete()
refused(401, "", lambda: ann.version.get())
finish(root, vms(vmid + 1).delete())
assert root.cluster.resources.get(type="vm") == []
print("ok: nothing is left")
