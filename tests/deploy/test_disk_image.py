"""The way of the disk image to a hypervisor over TLS, and, where it was made, what is in it.

Nothing here makes an image or boots one: `clinicpbx bundle image` makes it, and its tests are skipped until it did.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import http.server
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from fakepve import schema

from clinic.loading import load
from clinic.synthetic import text
from clinicpbx import bundle as bundles
from clinicpbx import disk_image
from clinicpbx.bundle import cache
from clinicpbx.errors import ClinicError
from clinicpbx.hypervisor import Hypervisor
from clinicpbx.site import ApiAccess
from lab.hypervisor import certs

ROOT = Path(__file__).parents[2]
IMAGE = "clinic-pbx-0123456789ab.qcow2"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtlZXAgdGhpcyBrZXkgb3V0IG9mIHVzZSwgaXQgaXM engineer"
CLINIC = load(text(20))
UPID = "UPID:pve1:00000001:00000001:00000001:imgcopy::clinicpbx@pve:"
MEBIBYTES = 12  # above 10 the client library streams the file instead of reading it whole


class Storage(http.server.ThreadingHTTPServer):
    """What a hypervisor answers while its first machine is made; it refuses an upload as Proxmox VE does."""

    calls: list[str]
    fields: dict[str, str]
    volumes: list[str]
    outcome: str = "OK"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Storage

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path).removeprefix("/api2/json")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls.append(f"{self.command} {path}")
        data = json.dumps({"data": self._answer(path, body)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PUT = do_GET  # noqa: N815 - names that the base class looks up

    def log_message(self, format: str, *args: Any) -> None: ...

    def _answer(self, path: str, body: bytes) -> Any:
        if path.endswith("/upload"):
            return self._upload(path, body)
        if path.endswith("/content"):
            return [{"volid": volume} for volume in self.server.volumes]
        if path.endswith("/status"):
            return {"status": "stopped", "exitstatus": self.server.outcome}
        if path.endswith("/config"):
            return {"scsi0": "store:vm-120-disk-0,size=3G"} if self.command == "GET" else None
        return [] if self.command == "GET" else UPID

    def _upload(self, path: str, body: bytes) -> str:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields: dict[str, str] = {}
        content = b""
        for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
            name = part.get_param("name", header="content-disposition")
            payload = part.get_payload(decode=True)
            assert isinstance(name, str) and isinstance(payload, bytes)
            fields[name] = part.get_filename() or payload.decode()
            if part.get_filename():
                content = payload
        self.server.fields = fields
        if hashlib.new(fields["checksum-algorithm"], content).hexdigest() != fields["checksum"]:
            self.server.outcome = "checksum mismatch"
        else:
            self.server.volumes.append(f"{path.split('/')[-2]}:{fields['content']}/{fields['filename']}")
        return UPID


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    certs.write(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    server = Storage(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.calls, server.fields, server.volumes = [], {}, []
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A disk image with the checksum that its making wrote beside it."""
    path = tmp_path / "disk" / IMAGE
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 4096 * MEBIBYTES)
    (path.parent / "sha256").write_text(f"{cache.sha256(path)}  {IMAGE}\n")
    return path


def create(storage: Storage, ca: Path, image_file: Path | None) -> list[str]:
    said: list[str] = []
    access = ApiAccess("127.0.0.1", int(storage.server_address[1]), ca, CLINIC.hypervisor.token, "right-secret")
    Hypervisor(access, CLINIC.hypervisor.node).create(CLINIC, IMAGE, KEY, say=said.append, image_file=image_file)
    return said


pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def test_a_missing_image_is_uploaded_with_its_checksum_and_then_imported(
    storage: Storage, file: Path, tmp_path: Path
) -> None:
    said = create(storage, tmp_path / "ca.pem", file)
    assert storage.volumes == [f"{CLINIC.hypervisor.image_storage}:import/{IMAGE}"]
    wanted = {"content": "import", "filename": IMAGE, "checksum": cache.sha256(file), "checksum-algorithm": "sha256"}
    assert storage.fields == wanted
    assert said[0].startswith(f"uploading {IMAGE} (13 MB) to ")
    upload = f"/nodes/{CLINIC.hypervisor.node}/storage/{CLINIC.hypervisor.image_storage}/upload"
    made = f"POST /nodes/{CLINIC.hypervisor.node}/qemu"
    assert storage.calls.index(f"POST {upload}") < storage.calls.index(made)
    match = schema.load().match(upload)
    assert schema.validate(match.methods["POST"]["parameters"], {**match.params, **wanted})[1] == {}


def test_an_image_that_is_there_is_not_uploaded_again(storage: Storage, file: Path, tmp_path: Path) -> None:
    storage.volumes.append(f"{CLINIC.hypervisor.image_storage}:import/{IMAGE}")
    create(storage, tmp_path / "ca.pem", file)
    assert not [call for call in storage.calls if call.endswith("/upload")]


def test_an_image_that_changed_since_it_was_made_is_refused_and_no_machine_made(
    storage: Storage, file: Path, tmp_path: Path
) -> None:
    with file.open("r+b") as stream:
        stream.write(b"changed")
    with pytest.raises(ClinicError, match="checksum mismatch"):
        create(storage, tmp_path / "ca.pem", file)
    assert not [call for call in storage.calls if call.endswith("/qemu") and call.startswith("POST")]


def test_an_image_that_was_never_made_names_the_command_and_a_lab_its_own(storage: Storage, tmp_path: Path) -> None:
    for file, remedy in ((tmp_path / "none.qcow2", "clinicpbx bundle image"), (None, "lab down, lab up")):
        with pytest.raises(ClinicError) as refusal:
            create(storage, tmp_path / "ca.pem", file)
        assert IMAGE in refusal.value.message and remedy in refusal.value.remedy


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of today's bundle as a plain file (sparse); skipped unless it lies in the cache and can be read."""
    if not list(cache.root().glob("disk/*/*.qcow2")) or not all(map(shutil.which, ("qemu-img", "sfdisk", "debugfs"))):
        pytest.skip("needs `clinicpbx bundle image`")
    path = disk_image.place(bundles.ensure(ROOT / "bundle.lock", production=False))
    if not path.exists():
        pytest.skip("needs `clinicpbx bundle image` of this bundle")
    assert cache.sha256(path) == disk_image.checksum(path)
    raw = tmp_path_factory.mktemp("disk") / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True, timeout=50)
    return raw


def inside(disk: Path, command: str) -> str:
    """What debugfs(8) says of the root's file system; nothing is mounted."""
    where = f"{disk}?offset={disk_image.ROOT_START * disk_image.SECTOR}"
    return subprocess.run(
        ["debugfs", "-R", command, where], check=True, capture_output=True, text=True, timeout=20
    ).stdout


def listed(disk: Path, folder: str) -> set[str]:
    rows = [line.split("/") for line in inside(disk, f"ls -p {folder}").splitlines() if line.startswith("/")]
    return {row[5] for row in rows} - {".", "..", ""}


def test_the_disk_has_a_whole_root_and_its_boot_loader(disk: Path) -> None:
    table = json.loads(subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True).stdout)
    loader, root = table["partitiontable"]["partitions"]
    assert (loader["start"], loader["size"], root["start"]) == (2048, 2048, 4096)
    where = f"{disk}?offset={disk_image.ROOT_START * disk_image.SECTOR}"
    subprocess.run(["e2fsck", "-f", "-n", where], check=True, capture_output=True, timeout=30)
    assert "clinic-root" in inside(disk, "stats -h")
    with disk.open("rb") as stream:
        sector = stream.read(512)
        assert b"GRUB" in sector and sector.endswith(b"\x55\xaa")
    boot = listed(disk, "/boot")
    assert any(name.startswith("vmlinuz-") for name in boot) and any(name.startswith("initrd.img-") for name in boot)
    for link in ("/vmlinuz", "/initrd.img"):
        assert "symlink" in inside(disk, f"stat {link}")
    assert "linux.mod" in listed(disk, "/boot/grub/i386-pc")


def test_the_disk_holds_no_identity_password_or_package_source(disk: Path) -> None:
    assert "sshd_config" in listed(disk, "/etc/ssh")  # the control: the listing sees what is there
    assert not {name for name in listed(disk, "/etc/ssh") if name.startswith("ssh_host")}
    assert inside(disk, "cat /etc/machine-id") == ""
    shadow = [line.split(":") for line in inside(disk, "cat /etc/shadow").splitlines()]
    assert "root" in {user for user, *_ in shadow}
    assert {secret for _, secret, *_ in shadow} <= {"*", "!", "!*"}
    assert "sources.list" not in listed(disk, "/etc/apt") and not listed(disk, "/etc/apt/sources.list.d")
    assert not listed(disk, "/home") and not listed(disk, "/root/.ssh")
