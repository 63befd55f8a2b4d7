"""How soon a sheet of the workspace is drawn anew in a browser after its colours or its range were changed.

    python benchmarks/workspace_browser.py [--json] [--repeats N]

320 channels of 64 x 64 in headless Chromium, from the choice until the sheet's pixels can be read back. Where
there is no GPU the workspace draws on a canvas; WebGL2 by software is measured beside it. Exit code 1 where
the median of what the workspace does is over 150 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

import workspace_sample as sample  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

BOUND = 150  # ms
CHROMIUM = "/usr/bin/chromium"
WEBGL = "WebGL2RenderingContext.prototype.getExtension = () => null;"
CHANGES = """async (repeats) => {
  const select = (label) => document.querySelector(`.uv-sheet select[aria-label="${label}"]`);
  const timed = async (label) => {
    const node = select(label), found = [];
    for (let at = 0; at < repeats; at++) {
      const start = performance.now();
      node.selectedIndex = (node.selectedIndex + 1) % node.options.length;
      node.dispatchEvent(new Event("change"));
      await new Promise((done) => setTimeout(done, 0));
      const canvas = document.querySelector(".uv-sheet canvas");
      canvas.getContext("2d").getImageData(canvas.width - 1, canvas.height - 1, 1, 1);
      found.push(performance.now() - start);
    }
    return found;
  };
  return { colours: await timed("Colours"), range: await timed("Range") };
}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--repeats", type=int, default=20, help="changes of each kind")
    options = parser.parse_args()
    found = measure(options.repeats)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else table(found))
    return (
        0
        if all(each["median_ms"] <= BOUND for name, each in found.items() if name.startswith("canvas"))
        else 1
    )


def measure(repeats: int) -> dict[str, dict[str, Any]]:
    """Milliseconds by painter and by what was changed: median and largest."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "one.html"
        path.write_text(sample.html(), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for painter, script in (("canvas", ""), ("WebGL2 by software", WEBGL)):
            page = browser.new_page(viewport={"width": 1400, "height": 900}, locale="en-US")
            page.add_init_script(script)
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            for what, times in page.evaluate(CHANGES, repeats).items():
                found[f"{painter}, {what}"] = _summary(times)
            page.close()
        browser.close()
    return found


def _summary(times: list[float]) -> dict[str, Any]:
    return {"median_ms": round(statistics.median(times), 1), "largest_ms": round(max(times), 1)}


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"{name}: {each['median_ms']} ms, at most {each['largest_ms']} ms" for name, each in found.items()
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
