"""Opens a page in headless Chromium and returns what a script found in it."""

import html
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess

import pytest

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
PROBLEMS = """axe.run(document, {resultTypes: ["violations"]}).then(found => tell([MEASURES, found.violations
  .filter(each => ["serious", "critical"].includes(each.impact))
  .map(each => [each.id, each.nodes[0].html.slice(0, 200)])]))"""


def look(page, script, folder, *, width=1280, is_dark=False):
    """Runs a script that calls `tell(value)` in a page, and returns the value.

    Args:
        page: The page as text.
        script: JavaScript.
        folder: For the browser's files.
        width: Of the window in pixels.
        is_dark: Whether the browser prefers dark pages.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    if binary is None:
        pytest.skip("no Chromium on this machine")
    # What it finds goes into the title, where --dump-dom shows it.
    tell = "const tell = value => { document.title = JSON.stringify(value); };"
    file = folder / "look.html"
    file.write_text(page.replace("</body>", f"<script>{tell}{script}</script></body>"), "utf-8")
    command = [binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command += ["--disable-sync", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--window-size={width},2000", "--virtual-time-budget=20000"]
    if is_dark:
        command.append("--blink-settings=preferredColorScheme=0")
    command += ["--dump-dom", file.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search("<title>(.*?)</title>", dom, re.DOTALL)[1]))


def find_barriers(page, folder, *, measures="null", **options):
    """Returns what axe-core finds in a page that keeps people out, serious or worse: (rule, element).

    `measures`, an expression of JavaScript, is evaluated before; with it the answer is a pair, its value first.
    """
    package = importlib.util.find_spec("axe_core_python")
    if package is None:
        pytest.skip("axe-core-python is not installed")
    axe = (pathlib.Path(package.origin).parent / "axe.min.js").read_text("utf-8")
    script = f"{axe.replace('</script>', '')};{PROBLEMS.replace('MEASURES', measures)}"
    measured, barriers = look(POLICY.sub("", page), script, folder, **options)
    return barriers if measured is None else (measured, barriers)
