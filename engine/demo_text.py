"""The texts of the demo server: its configuration files, its package database, its logs."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

ROOT_UUID = "6f1c8a52-0d0e-4f5b-9c43-2f7e1d6a9b10"
BOOT_UUID = "b3a7c9d4-51e2-4f0a-8a6d-77c0e4f21c35"

FSTAB = f"""\
# <file system>                           <mount point>  <type>  <options>          <dump>  <pass>
UUID={ROOT_UUID}  /              ext4    errors=remount-ro  0       1
UUID={BOOT_UUID}  /boot          ext4    defaults           0       2
tmpfs                                      /tmp           tmpfs   mode=1777          0       0
"""

SSHD = """\
Include /etc/ssh/sshd_config.d/*.conf
Port 22
AddressFamily any
ListenAddress 0.0.0.0
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""

NGINX = """\
user www-data;
worker_processes auto;
pid /run/nginx.pid;
events { worker_connections 768; }
http {
    sendfile on;
    include /etc/nginx/mime.types;
    access_log /var/log/nginx/access.log;
    error_log /var/log/nginx/error.log;
    gzip on;
    include /etc/nginx/sites-enabled/*;
}
"""

SITE = """\
server {
    listen 80;
    server_name NAME;
    root /srv/www/shop;
    location / { try_files $uri $uri/ =404; }
}
"""

ETC = {
    "hostname": "demo\n",
    "machine-id": "0123456789abcdef0123456789abcdef\n",
    "hosts": "127.0.0.1 localhost\n127.0.1.1 demo.example.org demo\n192.0.2.10 db.example.org db\n",
    "fstab": FSTAB,
    "os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
    "passwd": "".join(f"{name}:x:{uid}:{uid}::{home}:/bin/bash\n" for name, uid, home in (
        ("root", 0, "/root"), ("www-data", 33, "/var/www"), ("mysql", 101, "/var/lib/mysql"),
        ("anna", 1000, "/home/anna"), ("ben", 1001, "/home/ben"))),
    "group": "root:x:0:\nwww-data:x:33:\nsudo:x:27:anna\nanna:x:1000:\nben:x:1001:\n",
    "shadow": "root:*:19700:0:99999:7:::\nanna:!:19700:0:99999:7:::\nben:!:19700:0:99999:7:::\n",
    "sudoers": "root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n",
    "resolv.conf": "nameserver 192.0.2.53\nsearch example.org\n",
    "rollpoint/database_locations": "# backed up every night by the database's own tools\n/var/lib/mysql\n",
    "crontab": "17 * * * * root run-parts /etc/cron.hourly\n25 6 * * * root run-parts /etc/cron.daily\n",
    "cron.d/shop-orders": "*/5 * * * * www-data /usr/bin/shop-orders --send\n",
    "cron.daily/logrotate": "#!/bin/sh\nexec /usr/sbin/logrotate /etc/logrotate.conf\n",
    "default/grub": 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
    "logrotate.conf": "weekly\nrotate 4\ncreate\ncompress\ninclude /etc/logrotate.d\n",
    "mysql/mariadb.cnf": "[mariadb]\ndatadir = /var/lib/mysql\ninnodb_buffer_pool_size = 512M\n",
    "network/interfaces": "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet static\n"
                          "    address 192.0.2.20/24\n    gateway 192.0.2.1\n",
    "nginx/nginx.conf": NGINX,
    "nginx/mime.types": "types { text/html html; image/jpeg jpg; text/css css; }\n",
    "nginx/sites-available/default": SITE.replace("NAME", "_"),
    "ssh/sshd_config": SSHD,
    "ssh/ssh_config": "Host *\n    HashKnownHosts yes\n",
    "ssl/openssl.cnf": "openssl_conf = default_conf\n[default_conf]\nssl_conf = ssl_sect\n",
    "sysctl.conf": "net.ipv4.tcp_syncookies = 1\nvm.swappiness = 10\n",
}

_UNIT = """\
[Unit]
Description={about}
After=network.target

[Service]
ExecStart={command}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""

UNITS = {name: _UNIT.format(about=about, command=command) for name, about, command in (
    ("ssh", "OpenBSD Secure Shell server", "/usr/sbin/sshd -D"),
    ("nginx", "A high performance web server", "/usr/sbin/nginx -g 'daemon off;'"),
    ("cron", "Regular background program processing daemon", "/usr/sbin/cron -f"),
    ("mariadb", "MariaDB database server", "/usr/sbin/mariadbd"),
    ("shop-orders", "Sends the orders of the shop", "/usr/bin/shop-orders --daemon"))}

PROGRAMS = {
    "bin/bash": 900_000, "bin/openssl": 700_000, "bin/perl": 800_000, "bin/shop-orders": 40_000,
    "bin/sudo": 200_000, "bin/vim": 900_000, "sbin/cron": 60_000, "sbin/mariadbd": 1_500_000,
    "sbin/nginx": 900_000, "sbin/sshd": 700_000,
    "lib/x86_64-linux-gnu/libc.so.6": 1_200_000, "lib/x86_64-linux-gnu/libcrypto.so.3": 1_500_000,
    "lib/x86_64-linux-gnu/libssl.so.3": 600_000, "lib/openssh/sftp-server": 50_000,
}

MODULES = tuple(f"{where}/{name}" for where, names in (
    ("drivers/net", "e1000 virtio_net tun veth bonding"), ("drivers/block", "virtio_blk loop nbd"),
    ("drivers/md", "dm-mod dm-snapshot dm-thin-pool raid1"), ("fs", "xfs btrfs vfat overlay nfs"),
    ("net", "nf_tables ip_tables bridge")) for name in names.split())

PACKAGES = (
    ("base-files", "12.4+deb12u8"), ("bash", "5.2.15-2+b7"), ("coreutils", "9.1-1"), ("cron", "3.0pl1-162"),
    ("dpkg", "1.21.22"), ("grub-pc", "2.06-13+deb12u1"), ("libc6", "2.36-9+deb12u9"),
    ("libssl3", "3.0.14-1~deb12u2"),
    ("linux-image-6.1.0-26-amd64", "6.1.112-1"), ("linux-image-6.1.0-27-amd64", "6.1.115-1"),
    ("mariadb-server", "1:10.11.6-0+deb12u1"), ("nginx", "1.22.1-9"), ("openssh-server", "1:9.2p1-2+deb12u3"),
    ("openssl", "3.0.14-1~deb12u2"), ("perl", "5.36.0-7+deb12u1"), ("sudo", "1.9.13p3-1+deb12u1"),
    ("systemd", "252.31-1~deb12u1"), ("vim", "2:9.0.1378-2"), ("zlib1g", "1:1.2.13.dfsg-1"),
)

LOGS = ("syslog", "auth.log", "dpkg.log", "nginx/access.log", "nginx/error.log")

_SENTENCE = """a server is taken down by an edit an upgrade or a kernel and somebody has to bring it back
before the shop opens so keep the last good state near and know what going back to it would change"""
_WORDS = tuple(_SENTENCE.split())


def prose(chance: random.Random, lines: int) -> str:
    """Return lines of words, as in notes and documentation."""
    return "".join(" ".join(chance.choices(_WORDS, k=11)) + "\n" for _ in range(lines))


def page(title: str) -> str:
    """Return a small page of the web shop."""
    return f"<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n<p>In stock.</p>\n"


def grub_cfg(kernels: Iterable[str]) -> str:
    """Return a boot menu with one entry for each kernel, the first being the default."""
    entries = "".join(
        f"menuentry 'Debian GNU/Linux, with Linux {kernel}' {{\n"
        f"    search --no-floppy --fs-uuid --set=root {BOOT_UUID}\n"
        f"    linux /vmlinuz-{kernel} root=UUID={ROOT_UUID} ro quiet\n"
        f"    initrd /initrd.img-{kernel}\n}}\n" for kernel in kernels)
    return "set default=0\nset timeout=5\n" + entries


def system_map(version: str) -> str:
    """Return something like a kernel's symbol table."""
    chance = random.Random(version)
    return "".join(f"{0xffffffff81000000 + 16 * number:016x} T symbol_{chance.randrange(10**9)}\n"
                   for number in range(4000))


def kernel_config(version: str) -> str:
    """Return something like a kernel's build configuration."""
    chance = random.Random(version)
    options = (f"CONFIG_{number:04}={chance.choice('ymn')}\n" for number in range(2000))
    return f"# Linux/x86 {version}\n" + "".join(options)


def dpkg_status(versions: dict[str, str]) -> str:
    """Return a package database that says these packages are installed in these versions."""
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: admin\n"
        f"Installed-Size: 1024\nMaintainer: Demo <demo@example.org>\nArchitecture: amd64\n"
        f"Version: {version}\nDescription: {name}\n"
        for name, version in sorted(versions.items()))


def dpkg_log(now: datetime, versions: dict[str, str]) -> str:
    """Return what the package manager logs when it installs those versions that are new."""
    stamp = now.strftime("%Y-%m-%d %H:%M:%S")
    known = dict(PACKAGES)
    return "".join(f"{stamp} upgrade {name}:amd64 {known.get(name, '<none>')} {version}\n"
                   for name, version in versions.items() if known.get(name) != version)


def log_lines(chance: random.Random, name: str, begin: datetime, count: int) -> str:
    """Return that many lines for one log, one about every twenty seconds from `begin` on."""
    lines = []
    for number in range(count):
        when = (begin + timedelta(seconds=20 * number)).astimezone(UTC)
        peer = f"203.0.113.{chance.randrange(1, 255)}"
        if name == "nginx/access.log":
            item = chance.randrange(1, 41)
            lines.append(f'{peer} - - [{when:%d/%b/%Y:%H:%M:%S +0000}] "GET /items/item-{item:02}.html '
                         f'HTTP/1.1" 200 {chance.randrange(90, 9000)}\n')
        elif name == "auth.log":
            lines.append(f"{when:%b %d %H:%M:%S} demo sshd[{chance.randrange(400, 32000)}]: "
                         f"Connection closed by {peer} port {chance.randrange(1024, 65535)} [preauth]\n")
        elif number % 5 == 0:
            about = " ".join(chance.choices(_WORDS, k=7))
            lines.append(f"{when:%b %d %H:%M:%S} demo {name.partition('.')[0]}[{number}]: {about}\n")
    return "".join(lines)
