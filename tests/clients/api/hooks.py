"""What schemathesis cannot know by itself: SDP, fragments, recordings; and how long a text may be so
that the run ends today.
"""

import io
import math
import struct
import wave

import schemathesis
from hypothesis import strategies as st

OFFER = "\r\n".join(
    """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:F7gI
a=ice-pwd:x9cml/YzichV2+XlhiMu8g
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
""".splitlines()
) + "\r\n"
FRAGMENT = (
    "a=ice-ufrag:9uB6\r\na=ice-pwd:YH75Fviy6338Vbrhrlp8Yh\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
    "a=mid:0\r\na=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n"
)


def mangled(text):
    """The text with a line left out, doubled, cut or filled with something else."""
    lines = text.splitlines()
    at = st.integers(0, len(lines) - 1)

    def change(n, how, filling):
        line = lines[n]
        other = {"drop": [], "double": [line, line], "cut": [line[: len(line) // 2]]}
        changed = other.get(how, [line.split(":")[0] + ":" + filling])
        return "\r\n".join(lines[:n] + changed + lines[n + 1 :]) + "\r\n"

    how = st.sampled_from(["drop", "double", "cut", "fill"])
    return st.builds(change, at, how, st.text(st.characters(codec="utf-8"), max_size=20))


def sdp(direction):
    return OFFER.replace("sendrecv", direction)


descriptions = st.one_of(
    st.sampled_from(["sendrecv", "sendonly", "recvonly"]).map(sdp), mangled(OFFER)
)
fragments = st.one_of(st.just(FRAGMENT), mangled(FRAGMENT))
schemathesis.openapi.format("sdp", descriptions)
schemathesis.openapi.format("sdpfrag", fragments)


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def plain(context, value):
    return {"data": value if isinstance(value, bytes) else str(value).encode(errors="replace")}


def recording(seconds, hertz):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        samples = range(int(16000 * seconds))
        tone = (int(3000 * math.sin(2 * math.pi * hertz * n / 16000)) for n in samples)
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in tone))
    return file.getvalue()


tones = st.sampled_from([recording(0.2, 220), recording(0.4, 440)])
schemathesis.openapi.media_type("audio/wav", tones)


@schemathesis.hook("before_call").apply_to(path=["/tts", "/v1/audio/speech"])
def short(context, case, kwargs):
    """A text that would be taken is cut to one sentence: minutes of speech find nothing more."""
    for field, most in (("text", 10_000), ("input", 4_096)):
        body = case.body
        if isinstance(body, dict) and isinstance(body.get(field), str) and 40 < len(body[field]) <= most:
            case.body = {**body, field: body[field][:40]}
