"""A SIP user agent for the rehearsal: many telephones, or the public network, in one process. Standard library only.

Start a pool in a network namespace and drive it from a plain program:

    from softphone.client import Pool, PoolError

    pool = Pool.start("/run/lab/phones.sock", prefix=["ip", "netns", "exec", "cpx0-phones"], log="phones.log")
    pool.add_agents([{"bind_ip": "10.77.20.32", "user": "2001", "password": secret, "server": "10.77.20.1"}, ...])
    assert pool.register()["failed"] == {}
    call = pool.call("2001", "2002", tone=440)             # 2001 sends 440 Hz
    far = pool.wait_incoming("2002", timeout=5)            # a telephone rings by itself, see behaviour.py
    far.answer(tone=620)
    call.wait_answered(5).wait_tone(620, 3)                # what 2002 sends is heard at 2001
    assert 440 not in call.heard()
    call.hangup()

The public network: `pool.add_exchange("198.18.100.10", rules=[["7916*", {"action": "answer", "tone": 770}]])`,
`pool.call("pstn", "sip:74951234567@198.51.100.10", from_number="79161112233", from_display="Иванов")`,
`pool.invites("pstn", number="7916")` for what reached it and by which source address.

Inside a program of its own loop, use `softphone.agent.Agent` directly. Recordings: `softphone.wav.find_tones`.
Not done: TCP, TLS, SRTP, RTCP, IPv6, DNS, reliable provisionals (100rel), forked answers.
"""
