"""Runs inside the guest: takes commands from the virtio port ``lab``, one JSON object a line, and answers each.

Order: {"argv": […], "timeout": seconds, "stdin": base64}, or {"put": path, "data": base64, "mode": int, "append":
bool}, or {"get": path}. Answer: {"rc": …, "out": base64, "err": base64}, {"data": base64}, {"error": text}. Plain
Python, nothing else is needed.
"""

import base64
import json
import os
import subprocess

PORT = "/dev/virtio-ports/lab"


def answer(order: dict) -> dict:  # type: ignore[type-arg]
    """Carry out one order."""
    if "put" in order:
        os.makedirs(os.path.dirname(order["put"]), exist_ok=True)
        with open(order["put"], "ab" if order.get("append") else "wb") as file:
            file.write(base64.b64decode(order["data"]))
        os.chmod(order["put"], order.get("mode", 0o644))
        return {}
    if "get" in order:
        with open(order["get"], "rb") as file:
            return {"data": base64.b64encode(file.read()).decode()}
    done = subprocess.run(order["argv"], capture_output=True, timeout=order["timeout"],
                          input=base64.b64decode(order.get("stdin", "")), env=dict(os.environ, LC_ALL="C"))
    return {"rc": done.returncode, "out": base64.b64encode(done.stdout).decode(),
            "err": base64.b64encode(done.stderr).decode()}


def main() -> None:
    """Say hello, then serve until the port is closed."""
    with open(PORT, "r+b", buffering=0) as port:
        port.write(json.dumps({"hello": os.uname().release}).encode() + b"\n")
        rest = b""
        while True:
            data = port.read(1 << 16)
            if not data:
                continue
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                try:
                    said = answer(json.loads(line))
                except Exception as error:
                    said = {"error": f"{type(error).__name__}: {error}"}
                reply = memoryview(json.dumps(said).encode() + b"\n")
                while reply:
                    reply = reply[port.write(reply) or 0:]


if __name__ == "__main__":
    main()
