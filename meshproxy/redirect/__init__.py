"""Redirection of connections to a proxy beside an application, by the packet filter of the kernel.

`plan` says what is redirected, `rules` which rules that takes, `iptables` and `nftables` how these are written,
`routing` what TPROXY needs besides; `apply` puts all of it in place, and takes it away.
"""


class Refused(Exception):
    """It cannot be done, in words for whoever asked."""
