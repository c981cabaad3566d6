"""Real servers that fail as scripted: real sockets, answering by the mode of the moment."""

import socket
import ssl
import struct
import subprocess
import threading
import time

import cases

# Longer than any check waits.
LONG = 30


class Player:
    """A server of a script; its clock starts with the first check."""

    def __init__(self, server, log, directory, interface):
        self.server, self.log, self.directory, self.interface = server, log, directory, interface
        self.mode = server.script[0][1] if server.script and server.script[0][0] == 0 else "ok"
        self.zero = None

    def note(self, what):
        self.log.write(f"{cases.now():.3f} {self.server.name} {what}\n")

    def asked(self):
        self.note("asked")
        if self.zero is None:
            self.zero = cases.now()
            threading.Thread(target=self.follow, args=[self.zero], daemon=True).start()

    def follow(self, zero):
        for at, mode in self.server.script:
            time.sleep(max(0.0, zero + at - cases.now()))
            self.note(f"is {mode}")
            before, self.mode = self.mode, mode
            self.change(before, mode)

    def change(self, before, mode):
        """What a mode needs beside another answer."""

    def change_host(self, before, mode):
        for was, verb in ((before, "add"), (mode, "del")):
            if was == "gone":
                subprocess.run(["ip", "addr", verb, f"{self.server.address}/32", "dev", self.interface], check=True)


class Stream(Player):
    """TCP: HTTP, TLS, SMTP, or nothing."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.listener, self.fill, self.listens = None, [], threading.Event()
        self.listen(64)
        self.listens.set()
        threading.Thread(target=self.accept, daemon=True).start()

    def listen(self, backlog):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.server.address, self.server.port))
        listener.listen(backlog)
        self.listener = listener

    def change(self, before, mode):
        self.change_host(before, mode)
        silent = ("refuse", "full")
        if mode in silent:
            # A thread in accept() would keep the socket open.
            self.listens.clear()
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        if mode == "full":
            self.listen(0)
            for _ in range(3):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex((self.server.address, self.server.port))
                self.fill.append(client)
        if before in silent:
            if self.listener:
                self.listener.close()
            for client in self.fill:
                client.close()
            self.listen(64)
            self.listens.set()

    def accept(self):
        while True:
            self.listens.wait()
            try:
                client, _ = self.listener.accept()
            except (OSError, AttributeError):
                continue
            self.asked()
            threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client):
        client.settimeout(LONG)
        try:
            with client:
                if self.mode == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif self.mode == "mute":
                    client.recv(10000)
                    time.sleep(LONG)
                elif self.mode != "close":
                    self.answer(client)
        except (OSError, ssl.SSLError) as error:
            self.note(f"heard {type(error).__name__}")

    def answer(self, client):
        """TCP_CHECK closes without a word."""
        client.recv(1000)


class Http(Stream):
    def answer(self, client):
        request = b""
        while b"\r\n\r\n" not in request:
            data = client.recv(10000)
            if not data:
                return
            request += data
        mode = self.mode
        status, page = "200 OK", cases.PAGE
        if mode == "hang":
            time.sleep(LONG)
        elif mode.startswith("slow"):
            time.sleep(float(mode[4:]))
        elif mode == "garbage":
            client.sendall(b"\0\1what?\r\n\r\n")
            return
        elif mode == "wrong":
            page = b"other\n"
        elif mode.isdigit():
            status = f"{mode} scripted"
        elif mode.startswith("second") and b" /second " in request.splitlines()[0]:
            status = f"{mode[6:]} scripted"
        moved = "Location: /elsewhere\r\n" if status.startswith("3") else ""
        answer = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(page)}\r\n{moved}Connection: close\r\n\r\n".encode() + page
        if mode == "trickle":
            for at in range(0, len(answer), 10):
                client.sendall(answer[at : at + 10])
                time.sleep(0.2)
        else:
            client.sendall(answer)
        if isinstance(client, ssl.SSLSocket):
            client.unwrap()


class Tls(Http):
    def answer(self, client):
        if self.mode == "plain":
            client.recv(10000)
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + cases.PAGE)
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "side.pem")
        with context.wrap_socket(client, server_side=True) as wrapped:
            super().answer(wrapped)


class Smtp(Stream):
    def answer(self, client):
        if self.mode == "554":
            client.sendall(b"554 no\r\n")
            client.recv(1000)
            return
        client.sendall(b"220 side ESMTP\r\n")
        lines = client.makefile("rb")
        for line in lines:
            word = line[:4].upper()
            if word == b"QUIT":
                client.sendall(b"221 bye\r\n")
                return
            client.sendall(b"500 no\r\n" if self.mode == "helo500" else b"250 side\r\n")


class Datagrams(Player):
    """UDP: an echo, or DNS."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.opened = threading.Event()
        self.open()
        threading.Thread(target=self.receive, daemon=True).start()

    def open(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.server.address, self.server.port))
        self.opened.set()

    def change(self, before, mode):
        if mode == "refuse":
            self.opened.clear()
            try:
                # Wakes who receives, and says that there is no connection.
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.socket.close()
        if before == "refuse":
            self.open()

    def receive(self):
        while True:
            self.opened.wait()
            try:
                data, client = self.socket.recvfrom(4096)
            except OSError:
                continue
            if not data:
                continue
            self.asked()
            if self.mode != "silent":
                self.socket.sendto(self.reply(data), client)

    def reply(self, data):
        return data


class Dns(Datagrams):
    def reply(self, data):
        rcode = int(self.mode[5:]) if self.mode.startswith("rcode") else 0
        answers = 1 if self.mode == "ok" else 0
        question = data[12 : data.index(b"\0", 12) + 5]
        head = data[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, answers, 0, 0)
        return head + question + (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1" if answers else b"")


class Ping(Player):
    """The kernel is told not to answer: this does."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        subprocess.run(["sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"], check=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.bind((self.server.address, 0))
        threading.Thread(target=self.receive, daemon=True).start()

    def receive(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            echo = packet[(packet[0] & 15) * 4 :]
            if echo[0] != 8:
                continue
            self.asked()
            if self.mode != "silent":
                # The type goes from 8 to 0, and the checksum with it.
                total = int.from_bytes(echo[2:4], "big") + 0x0800
                total = (total & 0xFFFF) + (total >> 16)
                self.socket.sendto(b"\0\0" + total.to_bytes(2, "big") + echo[4:], client)


class Script(Player):
    """The checker is a program that reads its exit status from a file; it says itself when it is run."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        threading.Thread(target=self.wait, daemon=True).start()

    def wait(self):
        said = f" {self.server.name} asked"
        while True:
            for line in (self.directory / "asked").read_text().splitlines():
                if line.endswith(said):
                    self.zero = float(line.split()[0])
                    self.follow(self.zero)
                    return
            time.sleep(0.2)

    def change(self, before, mode):
        new = self.directory / f"{self.server.name}.new"
        new.write_text(mode + "\n")
        new.rename(self.directory / f"{self.server.name}.mode")


KINDS = {"tcp": Stream, "http": Http, "ssl": Tls, "smtp": Smtp, "dns": Dns, "udp": Datagrams, "ping": Ping, "misc": Script}


def play(directory, interface):
    """Plays all of them until the end of the process; says `ready` when they answer."""
    threading.stack_size(256 * 1024)
    for server in cases.SERVERS:
        subprocess.run(["ip", "addr", "add", f"{server.address}/32", "dev", interface], check=True)
    # O_APPEND: scripts write there, too.
    log = open(directory / "asked", "a", buffering=1, encoding="ascii")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=side"]
        + ["-keyout", directory / "side.key", "-out", directory / "side.crt"],
        check=True,
        capture_output=True,
    )
    (directory / "side.pem").write_text((directory / "side.key").read_text() + (directory / "side.crt").read_text())
    players = [KINDS[server.plays](server, log, directory, interface) for server in cases.SERVERS]
    (directory / "ready").write_text(f"{len(players)}\n")
    threading.Event().wait()
