"""Stands in for the webui's modules/extra_networks.py."""

from __future__ import annotations


def parse_prompt(prompt):
    return prompt, {}


def activate(p, extra_network_data):
    pass


def deactivate(p, extra_network_data):
    pass
