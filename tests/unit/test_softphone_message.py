"""SIP messages, digest and SDP: the standards' own examples, and refusals."""

import random

import pytest

from softphone import digest, sdp
from softphone.message import (
    Message,
    MessageError,
    name_addr,
    parse,
    parse_address,
    parse_uri,
    reply,
    split_commas,
    tag_of,
)
from softphone.subscription import read_state

INVITE = (
    b"INVITE sip:bob@biloxi.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKnashds8\r\n"
    b"To: Bob <sip:bob@biloxi.com>\r\nFrom: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\nCSeq: 314159 INVITE\r\nMax-Forwards: 70\r\n"
    b"Contact: <sip:alice@pc33.atlanta.com>\r\nContent-Length: 4\r\n\r\nv=0\n"
)


def test_an_invite_is_read_and_built_again_unchanged() -> None:
    message = parse(INVITE)
    assert (message.method, message.cseq, message.from_tag) == ("INVITE", (314159, "INVITE"), "1928301774")
    again = parse(message.build())
    assert sorted(again.headers) == sorted(message.headers) and again.body == b"v=0\n"


def test_compact_forms_folding_and_odd_spacing_of_rfc_4475_are_read() -> None:
    message = parse(
        b"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n"
        b"TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n"
        b'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n'
        b"MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nCSeq: 0009\r\n  INVITE\r\n"
        b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
        b" SIP/2.0/UDP 192.0.2.2\r\n"
        b'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n'
        b"  secondparam ; q = 0.33\r\n"
        b"l: 0\r\n\r\n"
    )
    assert message.to_tag == "1918181833n" and message.from_tag == "98asjd8" and message.cseq == (9, "INVITE")
    assert parse_address(message.get("from")).display == 'J Rosenberg \\"'
    assert message.branch == "z9hG4bK9ikj8" and len(message.get_list("via")) == 2
    assert parse_address(message.get("contact")).params["q"] == "0.33"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n\r\n", b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"INVITE sip:a SIP/2.0\r\n\r\n",
        b"SIP/2.0 99 X\r\n\r\n",
        INVITE.replace(b"CSeq: 314159 INVITE", b"CSeq: 1 BYE"), INVITE.replace(b"CSeq: 314159", b"CSeq: -1"),
        INVITE.replace(b"Content-Length: 4", b"Content-Length: 400"), INVITE.replace(b"Call-ID", b"Call"),
        INVITE.replace(b"Content-Length: 4", b"Content-Length: x"), INVITE.replace(b"To: ", b"To "),
        INVITE.replace(b"Max-Forwards: 70\r\n", b"X: y\r\n" * 300),
    ],
)  # fmt: skip
def test_what_is_no_sip_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        parse(data)


def test_random_damage_raises_nothing_but_message_error() -> None:
    source = random.Random(7)  # noqa: S311
    for _ in range(3000):
        data = bytearray(INVITE)
        for _ in range(source.randrange(1, 12)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            message = parse(bytes(data[: source.randrange(1, len(data) + 1)]))
            _ = (message.branch, message.cseq, parse_address(message.get("from")), reply(message, 200, "x").build())
        except MessageError:
            pass


def test_a_value_cannot_smuggle_a_header_in() -> None:
    message = Message(method="OPTIONS", uri="sip:a@b", headers=[("subject", "x\r\nEvil: yes")])
    assert b"\r\nEvil" not in message.build()


def test_addresses_with_quotes_commas_and_cyrillic() -> None:
    value = name_addr("sip:2001@10.0.0.1", 'Иванова, "Анна"', "t1")
    address = parse_address(value)
    assert (address.display, address.user, tag_of(value)) == ('Иванова, "Анна"', "2001", "t1")
    assert split_commas(f"{value}, <sip:a,b@c>") == [value, "<sip:a,b@c>"]
    assert parse_address("sip:a@b;tag=9").params == {"tag": "9"}
    assert parse_address("<tel:+74951234567>").user == "+74951234567"


def test_uris() -> None:
    uri = parse_uri("sip:+7%20495@10.0.0.1:5070;transport=udp?Replaces=x")
    assert (uri.user, uri.host, uri.port, uri.headers) == ("+7 495", "10.0.0.1", 5070, "?Replaces=x")
    for bad in ("http://a", "sip:", "sip:a@b:99999", ""):
        with pytest.raises(MessageError):
            parse_uri(bad)


def test_digest_gives_the_answers_of_rfc_2617_and_rfc_7616() -> None:
    old = digest.response_hash(
        "Mufasa", "testrealm@host.com", "Circle Of Life", "GET", "/dir/index.html",
        "dcd98b7102dd2f0e8b11d0f600bfb0c093", qop="auth", nc="00000001", cnonce="0a4f113b",
    )  # fmt: skip
    assert old == "6629fae49393a05397450978507c4ef1"
    expected = {
        "MD5": "8ca523f5e9506fed4657c9700eebdbec",
        "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }
    for algorithm, answer in expected.items():
        assert answer == digest.response_hash(
            "Mufasa", "http-auth@example.org", "Circle of Life", "GET", "/dir/index.html",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", algorithm=algorithm, qop="auth", nc="00000001",
            cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )  # fmt: skip


@pytest.mark.parametrize(
    "extra", ['qop="auth"', 'qop="auth",algorithm=SHA-256', "algorithm=MD5", 'qop="auth",algorithm=MD5-sess']
)
def test_our_answer_proves_the_right_password_only(extra: str) -> None:
    challenge = digest.parse_challenge(f'Digest realm="a \\"b\\"", nonce="n1", opaque="o", stale=TRUE, {extra}')
    assert challenge is not None and challenge.stale and challenge.realm == 'a "b"'
    credentials = digest.Credentials("2001", "correct")
    _, value = digest.authorize(challenge, credentials, "REGISTER", "sip:x")
    assert digest.verify(value, "correct", "REGISTER")
    assert not digest.verify(value, "wrong", "REGISTER") and not digest.verify(value, "correct", "INVITE")
    assert "correct" not in repr(credentials)


def test_nonce_count_rises_and_starts_again_with_a_new_nonce() -> None:
    credentials = digest.Credentials("2001", "secret")
    assert [credentials.next_count(nonce) for nonce in ("a", "a", "b")] == [1, 2, 1]


def test_strongest_algorithm_wins_and_unknown_ones_are_passed_over() -> None:
    offers = [
        digest.parse_challenge(f'Digest realm="r", nonce="n", algorithm={name}') for name in ("MD5", "SHA-256", "X")
    ]
    chosen = digest.strongest([item for item in offers if item])
    assert chosen is not None and chosen.algorithm == "SHA-256" and offers[2] is None
    assert digest.parse_challenge('Basic realm="r"') is None


def test_sdp_offer_and_answer() -> None:
    offer = sdp.parse(sdp.build("10.0.0.1", 4000, session=1, version=1))
    assert offer == sdp.Session("10.0.0.1", 4000, 8, "sendrecv", 101)
    answer = sdp.build("10.0.0.2", 5000, session=2, version=1, direction="recvonly", codecs=(0,), offer=offer)
    assert sdp.parse(answer).direction == "recvonly" and sdp.parse(answer).codec == 0


def test_sdp_refuses_video_and_keeps_its_place_in_the_answer() -> None:
    body = b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=video 9 RTP/AVP 96\r\na=inactive\r\nm=audio 4000 RTP/AVP 0 101\r\n" + (
        b"a=rtpmap:101 telephone-event/8000\r\n"
    )
    offer = sdp.parse(body)
    assert (offer.codec, offer.dtmf, offer.direction, offer.media) == (0, 101, "sendrecv", ("video", "audio"))
    answer = sdp.build("10.0.0.2", 5000, session=2, version=1, codecs=(0,), offer=offer).decode()
    assert answer.index("m=video 0 ") < answer.index("m=audio 5000 ")


@pytest.mark.parametrize(
    "body", [b"", b"v=0\r\n", b"m=audio\r\n", b"m=audio x RTP/AVP 8\r\n", b"m=audio 99 RTP/AVP 9\r\n"]
)
def test_sdp_without_usable_audio_is_refused(body: bytes) -> None:
    with pytest.raises(sdp.SdpError):
        sdp.parse(body)


def test_answer_direction_never_exceeds_the_offer() -> None:
    assert [sdp.answer_direction(item) for item in sdp.DIRECTIONS] == ["sendrecv", "recvonly", "sendonly", "inactive"]
    assert sdp.answer_direction("sendrecv", "sendonly") == "sendonly"
    assert sdp.answer_direction("sendonly", "sendonly") == "inactive"


def test_lamp_states_are_read_and_hostile_xml_is_not() -> None:
    start = b'<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" entity="sip:1@x">'
    body = start + b'<dialog id="1" direction="recipient"><state>early</state></dialog></dialog-info>'
    assert read_state(body)["state"] == "early"
    assert read_state(start + b'<dialog id="1"><state>terminated</state></dialog></dialog-info>')["state"] == "idle"
    assert read_state(b"Messages-Waiting: yes\r\nVoice-Message: 2/0\r\n")["state"] == "messages:yes"
    assert read_state(b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')["state"] == "unknown"
    assert read_state(b"<broken")["state"] == "unknown"
