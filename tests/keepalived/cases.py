"""The failures, and the keepalived.conf that both sides read.

A case is a virtual server with one or more real servers. A real server's script says how it answers from which moment on, in seconds since
it was asked for the first time: moments lie between checks, so that a few milliseconds decide nothing.
"""

import hashlib
import os
import time

PAGE = b"alive\n"
DIGEST = hashlib.md5(PAGE).hexdigest()
VIP = "198.51.100.10"
NETWORK = "10.1.0."
FIRST = 50


def now():
    """Seconds since the machine started, which scripts can read, too: /proc/uptime."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Server:
    """One real server: what it plays, how it answers when, and its checkers."""

    def __init__(self, plays, script, checker, more=""):
        self.plays, self.checker, self.more = plays, checker, more
        words = script.split()
        self.script = [(float(at), mode) for at, mode in zip(words[::2], words[1::2])]
        self.name = self.address = None
        # None that a lab's nginx and dnsmasq have.
        self.port = {"dns": 5300, "udp": 9000, "smtp": 2525, "ssl": 8443}.get(plays, 8100)


class Case:
    """One virtual server."""

    def __init__(self, name, servers, more="", sorry=False):
        self.name, self.more, self.sorry = name, more, sorry
        self.servers = servers if isinstance(servers, list) else [servers]


TIMES = "connect_timeout 1 retry 1 delay_before_retry 1"


def block(word, *words):
    """A block of keepalived's: a word a line."""
    lines = "\n".join(words).replace(" retry", "\nretry").replace(" delay_before", "\ndelay_before")
    return f"{word} {{\n{lines}\n}}\n"


def tcp(script, words=TIMES, more=""):
    return Server("tcp", script, block("TCP_CHECK", words), more)


def http(script, url="path /\nstatus_code 200", words=TIMES, more="", plays="http"):
    urls = "".join(block("url", u) for u in ([url] if isinstance(url, str) else url))
    return Server(plays, script, block("SSL_GET" if plays == "ssl" else "HTTP_GET", urls, words), more)


def ssl(script):
    return http(script, plays="ssl")


def smtp(script):
    return Server("smtp", script, block("SMTP_CHECK", "helo_name lb.example", TIMES))


def dns(script, words="type A\nname www.example"):
    return Server("dns", script, block("DNS_CHECK", words, TIMES))


def misc(script, words="misc_timeout 1"):
    return Server("misc", script, block("MISC_CHECK", 'misc_path "@DIR@/misc @NAME@"', words, "retry 1", "delay_before_retry 1"))


def ping(script):
    return Server("ping", script, block("PING_CHECK", TIMES))


def udp(script, words=""):
    return Server("udp", script, block("UDP_CHECK", "payload 68656c6c6f", words, TIMES))


CASES = [
    Case("tcp_refused", tcp("3.5 refuse 9.5 ok 15.5 refuse 19.5 ok")),
    Case("tcp_no_retry", tcp("3.5 refuse 9.5 ok", "connect_timeout 1 retry 0")),
    Case("tcp_three_retries", tcp("3.5 refuse 11.25 ok", "connect_timeout 1 retry 3 delay_before_retry 0.5")),
    Case("tcp_back_in_time", tcp("3.5 refuse 5.5 ok 13.5 refuse 19.5 ok", "connect_timeout 1 retry 3 delay_before_retry 1")),
    Case("tcp_queue_full", tcp("3.5 full 13.5 ok")),
    Case("tcp_host_gone", tcp("2.5 gone 13 ok")),
    Case("tcp_defaults", tcp("3.5 refuse 12.5 ok", "")),
    Case("tcp_inhibit", tcp("3.5 refuse 9.5 ok", more="inhibit_on_failure")),
    Case("tcp_alpha", tcp("7.5 refuse 13.5 ok"), "alpha"),
    Case("tcp_own_loop", tcp("2.5 refuse 6.5 ok", "delay_loop 1\n" + TIMES)),
    Case("http_503", http("3.5 503 10 ok 16.2 503 19.6 ok")),
    Case("http_404_any_2xx", http("3.5 404 10 ok", "path /")),
    Case("http_redirected", http("3.5 301 10 ok", "path /")),
    Case("http_status_range", http("3.5 404 10 500 16.2 ok", "path /\nstatus_code 200-299 404")),
    Case("http_wrong_page", http("3.5 wrong 10 ok", f"path /\ndigest {DIGEST}")),
    Case("http_regex", http("3.5 wrong 10 ok", 'path /\nregex "aliv[aeiou]"')),
    Case("http_regex_no_match", http("3.5 wrong 10 ok", 'path /\nregex "other"\nregex_no_match')),
    Case("http_hangs", http("3.5 hang 14.2 ok")),
    Case("http_slow", http("3.5 slow1.5 14.2 ok")),
    Case("http_slow_but_in_time", http("3.5 slow0.5 10.3 503 15.5 ok")),
    Case("http_trickles", http("3.5 trickle 14.2 ok")),
    Case("http_reset", http("3.5 reset 10 ok")),
    Case("http_closed", http("3.5 close 10 ok")),
    Case("http_garbage", http("3.5 garbage 10 ok")),
    Case("http_refused", http("3.5 refuse 10 ok")),
    Case("http_defaults", http("3.5 503 14.2 ok", words="")),
    Case("http_two_pages", http("3.5 second503 10 ok", ["path /\nstatus_code 200", "path /second\nstatus_code 200"])),
    Case("http_1_1", http("3.5 503 10 ok", words="http_protocol 1.1\n" + TIMES)),
    Case("http_alpha", http("0 503 5 ok 9 503 16.2 ok", more="alpha")),
    Case("http_inhibit", http("3.5 503 10 ok", more="inhibit_on_failure\nweight 5")),
    Case("http_direct_routing", http("3.5 503 10 ok"), "lb_kind DR"),
    Case("ssl_503", ssl("3.5 503 10 ok")),
    Case("ssl_plain", ssl("3.5 plain 10 ok")),
    Case("ssl_hangs", ssl("3.5 mute 14.2 ok")),
    Case("ssl_closed", ssl("3.5 close 10 ok")),
    Case("ssl_refused", ssl("3.5 refuse 10 ok")),
    Case("smtp_554", smtp("3.5 554 9.5 ok")),
    Case("smtp_helo_500", smtp("3.5 helo500 9.5 ok")),
    Case("smtp_hangs", smtp("3.5 mute 13.5 ok")),
    Case("smtp_closed", smtp("3.5 close 9.5 ok")),
    Case("smtp_refused", smtp("3.5 refuse 9.5 ok")),
    Case("dns_silent", dns("3.5 silent 13.5 ok"), "protocol UDP"),
    Case("dns_nxdomain", dns("3.5 rcode3 9.5 ok"), "protocol UDP"),
    Case("dns_servfail", dns("3.5 rcode2 9.5 ok"), "protocol UDP"),
    Case("dns_empty", dns("3.5 empty 9.5 ok"), "protocol UDP"),
    Case("dns_refused", dns("3.5 refuse 9.5 ok"), "protocol UDP"),
    Case("misc_1", misc("3.5 exit1 10 exit0")),
    Case("misc_hangs", misc("3.5 sleep 13.5 exit0")),
    Case("misc_dynamic", misc("3.5 exit12 7.5 exit1 13.5 exit52 17.5 exit0", "misc_timeout 1\nmisc_dynamic")),
    Case("ping_silent", ping("3.5 silent 13.5 ok")),
    Case("udp_refused", udp("3.5 refuse 9.5 ok"), "protocol UDP"),
    Case("udp_silent", udp("3.5 silent 13.5 ok"), "protocol UDP"),
    Case("udp_must_reply", udp("3.5 silent 13.5 ok", "require_reply"), "protocol UDP"),
    Case("two_checkers", Server("http", "3.5 503 10 ok", tcp("").checker + http("").checker), "warmup 0"),
    Case("sorry", [tcp("3.5 refuse 13.5 ok"), tcp("7.5 refuse 17.5 ok")], sorry=True),
    Case("sorry_inhibit", [tcp("3.5 refuse 13.5 ok", more="inhibit_on_failure"), tcp("7.5 refuse 17.5 ok", more="inhibit_on_failure")], sorry=True),
    Case("quorum", [http("3.5 503 14.4 ok"), http("7.2 503 18.5 ok"), http("")], "quorum 2\nhysteresis 1", sorry=True),
    Case("quorum_by_weight", [http("3.5 503 14.4 ok", more="weight 3"), http("7.2 503 18.5 ok", more="weight 2"), http("")], "quorum 4", sorry=True),
    Case("quorum_alpha", [http("0 503 7.2 ok"), http("0 503 9.4 ok")], "quorum 2\nalpha", sorry=True),
    # What is told at the start.
    Case("start_alpha", http("9 503 13 ok"), "alpha"),
    Case("start_alpha_dead", http("0 503"), "alpha"),
    Case("start_too_few", http("3.5 503 10 ok"), "quorum 2"),
    Case("start_too_few_sorry", http("3.5 503 10 ok"), "quorum 2", sorry=True),
    Case("start_one_alpha", [http("3.5 503 10 ok"), http("0 503 5 ok", more="alpha")]),
    Case("start_one_alpha_of_both", [http("", more="weight 2"), http("0 503 5 ok", more="alpha")], "quorum 3"),
    Case("start_all_alpha", [http("0 503", more="alpha"), http("0 503", more="alpha")], sorry=True),
    Case("start_below_hysteresis", [http("3.5 503 10 ok"), http("")], "quorum 2\nhysteresis 1"),
    Case("start_below_hysteresis_sorry", [http("3.5 503 10 ok"), http("")], "quorum 5\nhysteresis 2", sorry=True),
    # And at the stop.
    Case("omega", [http(""), http("3.5 503"), http("")], "omega"),
    Case("omega_quorum", [http(""), http("3.5 503"), http("", more="weight 3")], "omega\nquorum 3\nhysteresis 1"),
    Case("omega_without_quorum", [http(""), http("3.5 503")], "omega\nquorum 2", sorry=True),
    Case("omega_inhibit", [http("", more="inhibit_on_failure"), http("3.5 503", more="inhibit_on_failure")], "omega"),
    Case("omega_alpha", http("0 503"), "omega\nalpha"),
    Case("omega_quiesced", [http("", more="weight 0"), http("")], "omega"),
]

# Those that programs are told of; starting many of them takes long in a guest.
TOLD = ("tcp_refused", "http_alpha", "tcp_inhibit", "quorum", "quorum_alpha", "sorry")


def is_told(case):
    return case.name in TOLD or case.name.startswith(("start_", "omega"))


# A slow guest plays them in parts: PART=1/5.
_part, _parts = (int(n) for n in os.environ.get("PART", "1/1").split("/"))
CASES = CASES[_part - 1 :: _parts]
_number = FIRST
for _case in CASES:
    for _server in _case.servers:
        _server.address = f"{NETWORK}{_number}"
        _server.name = _case.name + ("" if len(_case.servers) == 1 else f"_{_case.servers.index(_server) + 1}")
        _number += 1
    if _case.sorry:
        _case.sorry = f"{NETWORK}{_number}"
        _number += 1
SERVERS = [server for case in CASES for server in case.servers]
# As many times a real server begins to fail.
FAILURES = sum(mode not in ("ok", "exit0") for server in SERVERS for _, mode in server.script)


def indent(text):
    """One tab for each open brace."""
    depth, lines = 0, []
    for line in text.splitlines():
        depth -= line.startswith("}")
        if line:
            lines.append("\t" * depth + line)
        depth += line.endswith("{")
    return "\n".join(lines) + "\n"


def conf(directory):
    """The file; scripts stand in `directory`."""
    text = "global_defs {\nrouter_id side\nscript_user root\nenable_script_security\n}\n"
    for port, case in enumerate(CASES, 1001):
        # Direct routing keeps the port.
        port = 8100 if "DR" in case.more else port
        text += f"\n# {case.name}\nvirtual_server {VIP} {port} {{\ndelay_loop 2\nlb_algo rr\n"
        text += "" if "lb_kind" in case.more else "lb_kind NAT\n"
        text += "" if "protocol" in case.more else "protocol TCP\n"
        text += case.more + "\n"
        # What one server's end means for another is a matter of moments common to both.
        text += "warmup 0\n" if len(case.servers) > 1 else ""
        told = is_told(case)
        tell = f'"{directory}/notify {case.name}'
        if told:
            text += f'quorum_up {tell} quorum_up"\nquorum_down {tell} quorum_down"\n'
        if case.sorry:
            text += f"sorry_server {case.sorry} 8100\n"
        for server in case.servers:
            tell = f'"{directory}/notify {server.name}'
            text += f"real_server {server.address} {server.port} {{\n"
            text += "" if "weight" in server.more else "weight 1\n"
            text += f'notify_up {tell} notify_up"\nnotify_down {tell} notify_down"\n' if told else ""
            text += f"{server.more}\n{server.checker}}}\n"
        text += "}\n"
    for server in SERVERS:
        text = text.replace("@NAME@", server.name, 1) if server.plays == "misc" else text
    return indent(text.replace("@DIR@", directory))
