"""Stands in for the webui's modules/call_queue.py."""

from __future__ import annotations

import threading

queue_lock = threading.Lock()
