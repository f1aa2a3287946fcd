"""Virtual telephones that behave as the vendors' own: DHCP, file names, HTTPS, the file as the phone reads it, NOTIFY.

    dhcp    packets (pure) and a client for many MAC addresses       names    what a model asks for and calls itself
    parse   a file as the phone would understand it (pure)           fetch    HTTPS, 401, 404, redirects
    settings  what was understood, typed (pure)                      handset  one telephone's life
    daemon  all of them in one process                               client   for the lab and tests

They are given a MAC address, a model and electricity; every account and password comes by DHCP and HTTPS.
"""
