"""A project with a real install and a real server, lived in three times at once, seen in a real browser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made import traces
from tests.support import TIMEOUT, Sandbox, marked_processes, needs

PACKAGE = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "greeting"
version = "1.0"
"""

BACKEND = '''\
"""Builds a wheel of one module, by nothing but the standard library: so that the install needs no network."""
import zipfile

META = "Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "greeting-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("greeting.py", "TEXT = 'hello from '\\n")
        wheel.writestr("greeting-1.0.dist-info/METADATA", META)
        wheel.writestr("greeting-1.0.dist-info/WHEEL", WHEEL)
        wheel.writestr("greeting-1.0.dist-info/RECORD", "")
    return name
'''

SERVER = """\
import http.server, os, pathlib, greeting

values = dict(line.split("=", 1) for line in pathlib.Path(".env").read_text().splitlines())

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"<h1 id=x>{greeting.TEXT}{values['NAME']}</h1><script>document.title = location.host</script>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", int(values["PORT"])), Page).serve_forever()
"""

SETTINGS = f"""\
ports: [web]
env_files: {{.env: {{PORT: "{{port:web}}", NAME: "{{name}}"}}}}
setup:
  - command: {sys.executable} -m venv .venv && .venv/bin/pip install --quiet --no-index --no-build-isolation ./vendor
    if_changed: [vendor/pyproject.toml]
run: {{web: .venv/bin/python server.py}}
teardown: ["rm -rf .venv"]
"""

AGENT = "agents: {echo: {command: [echo, '{prompt}']}}\nagent: echo\n"


def seen(home: Path, url: str) -> str:
    """The page as a browser has made it, once its script has run."""
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"]
    argv += ["--virtual-time-budget=2000", f"--user-data-dir={home}/browser", "--dump-dom", url]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT * 3)
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(400)
@needs("chromium")
def test_three_sessions_are_set_up_run_seen_and_gone(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(AGENT)
    ignored = ".venv/\n.env\n__pycache__/\nbuild/\n*.egg-info/\n"
    project = {"vendor__pyproject_dot_toml": PACKAGE, "vendor__backend_dot_py": BACKEND, "server_dot_py": SERVER}
    sandbox.commit("the project", _dot_gitignore=ignored, _dot_chatml_dot_yaml=SETTINGS, **project)
    before = traces(sandbox)
    told = sandbox.chatml("new", "-n", "3", "--name", "s", "do it", "--wait", "--trust", timeout=180)
    assert "approved the commands" in told.err
    urls = [sandbox.chatml("run", f"s-{number}", timeout=60).out.strip() for number in (1, 2, 3)]
    assert len({*urls}) == 3
    for number, url in enumerate(urls, 1):
        assert url.startswith(f"http://s-{number}.localhost:")
        page = seen(sandbox.home, url)
        assert f"hello from s-{number}" in page
        assert f"<title>{url.removeprefix('http://')}</title>" in page, "the browser knows it by its own host"
    sandbox.chatml("rm", "--all", timeout=90)
    assert marked_processes(sandbox.home) == {}
    assert json.loads((sandbox.home / ".local" / "state" / "chatml" / "ports.json").read_text()) == {}
    assert {**traces(sandbox), "state": 0} == {**before, "state": 0}
