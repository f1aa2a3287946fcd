#!/bin/sh
# Every package script asks here before it starts, stops or restarts a service: policy-rc.d SERVICE ACTIONS. 101 is no.
# Who types systemctl, or deploys, is not asked.
case $1 in --*) shift ;; esac

# While the deploy installs packages their configuration is not there yet.
[ -e /run/clinicpbx-installing ] && exit 101

case ${1%.service} in
asterisk | postgresql*) ;; # under calls: only `clinicpbx deploy --restart-asterisk` restarts Asterisk
nftables) ;;               # its stop takes the rules away, and those in the kernel need no restart
*) exit 0 ;;
esac
case $2 in *stop* | *restart* | *reload*) exit 101 ;; esac
exit 0
