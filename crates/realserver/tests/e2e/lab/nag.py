"""Asks for VIPs without end, to one server alone and to all: nag.py OWN-IPV4 OWN-IPV6 SERVER-MAC VIP..."""
import socket
import struct
import sys
import time

own4, own6, server = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3].replace(":", ""))
mac = bytes.fromhex("020007000001")
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))


def arp(vip, to):
    sender, target = socket.inet_aton(own4), socket.inet_aton(vip)
    return to + mac + bytes.fromhex("08060001080006040001") + mac + sender + bytes(6) + target + bytes(18)


def solicitation(vip, to):
    source, target = socket.inet_pton(socket.AF_INET6, own6), socket.inet_pton(socket.AF_INET6, vip)
    message = bytes([135, 0, 0, 0, 0, 0, 0, 0]) + target + bytes([1, 1]) + mac
    group = bytes.fromhex("ff0200000000000000000001ff") + target[-3:]
    address = target if to == server else group
    pseudo = source + address + struct.pack("!II", len(message), 58) + message
    total = sum(struct.unpack("!%dH" % (len(pseudo) // 2), pseudo))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
    message = message[:2] + struct.pack("!H", checksum) + message[4:]
    ip = struct.pack("!IHBB", 0x60000000, len(message), 58, 255)
    to = to if to == server else b"\x33\x33" + group[-4:]
    return to + mac + b"\x86\xdd" + ip + source + address + message


told = False
while True:
    for vip in sys.argv[4:]:
        for to in (server, b"\xff" * 6):
            try:
                wire.send(solicitation(vip, to) if ":" in vip else arp(vip, to))
            except OSError:  # the link is down while a machine boots
                pass
    if not told:
        print("asking", flush=True)
        told = True
    time.sleep(0.01)
