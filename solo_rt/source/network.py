"""Streams and files of other machines: RTSP, RTMP, HTTP, HLS, UDP, RTP, TCP, SRT."""

from __future__ import annotations

from solo_rt.source.address import Address
from solo_rt.source.demuxer import DEMUXERS
from solo_rt.uri import redact, scheme

SECURE = "tcp,tls,crypto"
WEB = f"http,https,httpproxy,{SECURE}"
# What may be opened on the way, by scheme: a playlist or a redirect must not lead to a file of this machine.
PROTOCOLS = {
    "rtsp": f"rtsp,rtp,srtp,udp,{WEB}",
    "rtsps": f"rtsp,rtp,srtp,udp,{WEB}",
    "rtmp": "rtmp,rtmpt,tcp",
    "rtmps": f"rtmp,rtmps,{SECURE}",
    "http": WEB,
    "https": WEB,
    "udp": "udp",
    "rtp": "rtp,udp",
    "tcp": "tcp",
    "tls": SECURE,
    "srt": "srt,udp",
}
# What a web address may lead to on top of video files; HLS has sound and subtitles in files of their own.
_WEB_DEMUXERS = f"{DEMUXERS},hls,mpjpeg,image2pipe,jpeg_pipe,aac,ac3,eac3,mp3,webvtt"


def network_address(uri: str) -> Address:
    """Return the address of a stream or a file on the network; its scheme is one of `PROTOCOLS`."""
    kind = scheme(uri)
    options = {"protocol_whitelist": PROTOCOLS[kind]}
    if kind.startswith("rtsp"):
        options["rtsp_flags"] = "prefer_tcp"  # over UDP a camera's pictures lack pieces; where TCP fails it is tried
    elif kind.startswith("rtmp"):
        options["rtmp_live"] = "live"
    elif kind.startswith("http"):
        options["format_whitelist"] = _WEB_DEMUXERS
    elif kind == "udp":
        options["overrun_nonfatal"] = "1"  # a moment of inattention costs pictures, not the connection
    return Address(redact(uri), "network", uri, options=options, is_live=not kind.startswith("http"))
