"""A cloud of images as a part of a page: points that show their image and label where the mouse or the keys are.

The part brings its own style and script, and all thumbnails in one picture: a page of 5,000 points opens at once.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence

import numpy as np

from keras_transfer.pages import document, overlays, sprite

__all__ = ["part"]

GRID = 4096  # steps of a coordinate
QUALITY = 70  # of the JPEG with the thumbnails
LEGEND = 24  # classes that are named; further ones are told where the mouse is


def part(
    clouds: Mapping[str, np.ndarray],
    *,
    captions: Sequence[str],
    groups: Sequence[int],
    group_names: Sequence[str],
    thumbnails: Sequence[np.ndarray | None] = (),
    label: str,
) -> str:
    """Returns one canvas for each cloud as HTML; the same image is lit in all of them.

    Args:
        clouds: Positions by title, each (points, 2), of the same images in the same order.
        captions: What is said of each point.
        groups: For each point a place in `group_names`, -1 for none.
        group_names: In the legend.
        thumbnails: uint8 RGB of one size, one a point; or none at all.
        label: What is shown, for screen readers.

    Example:
        >>> html = part({"now": np.eye(2)}, captions=["a", "b"], groups=[0, 1], group_names=["cat", "dog"], label="Map")
        >>> html.count('role="img"')
        1
    """
    sheet, side, columns = _sheet(thumbnails)
    shades = [overlays.colour(number) for number in range(len(group_names))]
    colours = ["#{:02x}{:02x}{:02x}".format(*shade) for shade in shades]
    values = {
        "clouds": [_steps(positions) for positions in clouds.values()],
        "captions": list(captions),
        "groups": [int(group) for group in groups],
        "colours": colours,
        "side": side,
        "columns": columns,
        "sheet": sheet,
    }
    embedded = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
    figures = ""
    for title in clouds:
        heading = document.escape(title)
        spoken = document.escape(f"{label}: {title}, {len(captions)} points. Arrow keys move.")
        figures += (
            f'<figure><figcaption>{heading}</figcaption><canvas tabindex="0" role="img" '
            f'aria-label="{spoken}"></canvas></figure>'
        )
    return (
        f'<div class="cloud"><style>{STYLE}</style><div class="cloud-maps">{figures}</div>'
        f'<p class="cloud-said" aria-live="polite"><canvas width="64" height="64" aria-hidden="true"></canvas>'
        f"<span>Point at an image.</span></p>{_legend(group_names, colours)}"
        f'<script type="application/json">{embedded}</script><script>{SCRIPT}</script></div>'
    )


def _legend(names: Sequence[str], colours: Sequence[str]) -> str:
    items = ""
    for number, name in enumerate(names[:LEGEND]):
        mark = f'<i style="background:{colours[number]}"></i>'
        text = document.breakable(name)
        items += f'<li><button type="button" aria-pressed="false">{mark}{text}</button></li>'
    if len(names) > LEGEND:
        items += f"<li>and {len(names) - LEGEND} more</li>"
    return f'<ul class="cloud-legend">{items}</ul>' if items else ""


def _steps(positions: np.ndarray) -> list[int]:
    """Returns positions as whole numbers, x and y in turn; both axes have one scale."""
    low = positions.min(axis=0)
    span = max(float((positions.max(axis=0) - low).max()), 1e-9)
    centred = (positions - low) / span + (1 - (positions.max(axis=0) - low) / span) / 2
    return np.rint(centred * GRID).astype(int).ravel().tolist()


def _sheet(thumbnails: Sequence[np.ndarray | None]) -> tuple[str, int, int]:
    """Returns all thumbnails as one picture, the side of each, and how many there are in a row."""
    first = next((each for each in thumbnails if each is not None), None)
    if first is None:
        return "", 0, 1
    from PIL import Image

    side = max(first.shape[:2])
    sheet, columns = sprite.join(thumbnails, side=side)
    data = io.BytesIO()
    Image.fromarray(sheet).save(data, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}", side, columns


STYLE = """
.cloud-maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.cloud-maps figure { max-width: 40rem; }
.cloud-maps canvas { width: 100%; aspect-ratio: 1; border: 1px solid var(--line); border-radius: 6px; display: block;
  cursor: crosshair; }
.cloud-maps canvas:focus-visible { outline: 2px solid var(--first); }
.cloud-maps figcaption { margin: 0 0 .3rem; }
.cloud-said { display: flex; align-items: center; gap: .75rem; min-height: 64px; overflow-wrap: anywhere; }
.cloud-said canvas { flex: none; border-radius: 6px; background: var(--page); }
.cloud-legend { display: flex; flex-wrap: wrap; gap: .25rem .5rem; padding: 0; margin: 0; list-style: none;
  font-size: .85rem; }
.cloud-legend button { all: unset; cursor: pointer; padding: .1rem .5rem; border-radius: 99px;
  border: 1px solid transparent; }
.cloud-legend button:focus-visible, .cloud-legend [aria-pressed=true] { border-color: var(--first); }
.cloud-legend i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .35em; }
"""
SCRIPT = """
(() => {
  const root = document.currentScript.parentElement;
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const maps = [...root.querySelectorAll(".cloud-maps canvas")], said = root.querySelector(".cloud-said");
  const small = said.querySelector("canvas"), text = said.querySelector("span"), count = data.captions.length;
  const buttons = [...root.querySelectorAll(".cloud-legend button")], sheet = new Image();
  const cells = maps.map(() => new Map());
  let lit = -1, only = -1;
  sheet.src = data.sheet;
  const place = (at, i, size) => [1, 0].map((_, k) => 8 + data.clouds[at][2 * i + k] / 4096 * (size - 16));
  function draw(at) {
    const map = maps[at], ratio = window.devicePixelRatio || 1, size = map.clientWidth;
    if (!size) return;
    if (map.width !== Math.round(size * ratio)) map.width = map.height = Math.round(size * ratio);
    const pen = map.getContext("2d"), ink = getComputedStyle(map).color, radius = count > 1500 ? 2 : 3.5;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, size, size);
    cells[at].clear();
    for (let i = 0; i < count; i++) {
      const [x, y] = place(at, i, size), group = data.groups[i], key = (x >> 4) + "," + (y >> 4);
      if (!cells[at].has(key)) cells[at].set(key, []);
      cells[at].get(key).push(i);
      pen.globalAlpha = only < 0 || only === group ? .75 : .08;
      pen.fillStyle = data.colours[group] || ink;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (lit < 0) return;
    const [x, y] = place(at, lit, size);
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, radius + 4, 0, 7);
    pen.stroke();
  }
  const drawAll = () => maps.forEach((_, at) => draw(at));
  function show(i) {
    if (i === lit) return;
    lit = i;
    drawAll();
    text.textContent = data.captions[i];
    const pen = small.getContext("2d"), s = data.side;
    pen.clearRect(0, 0, 64, 64);
    if (s) pen.drawImage(sheet, i % data.columns * s, Math.floor(i / data.columns) * s, s, s, 0, 0, 64, 64);
  }
  function nearest(at, x, y, size) {
    let best = -1, least = 24 * 24;
    for (let dx = -2; dx <= 2; dx++) for (let dy = -2; dy <= 2; dy++)
      for (const i of cells[at].get(((x >> 4) + dx) + "," + ((y >> 4) + dy)) || []) {
        const [px, py] = place(at, i, size), gap = (px - x) ** 2 + (py - y) ** 2;
        if (gap < least && (only < 0 || only === data.groups[i])) [best, least] = [i, gap];
      }
    return best;
  }
  const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  maps.forEach((map, at) => {
    const move = event => {
      const box = map.getBoundingClientRect();
      const i = nearest(at, event.clientX - box.left, event.clientY - box.top, box.width);
      if (i >= 0) show(i);
    };
    map.addEventListener("pointermove", move);
    map.addEventListener("pointerdown", move);
    map.addEventListener("keydown", event => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      if (lit < 0) return show(0);
      const [x, y] = place(at, lit, 1000);
      let best = lit, least = Infinity;
      for (let i = 0; i < count; i++) {
        const [px, py] = place(at, i, 1000), along = (px - x) * step[0] + (py - y) * step[1];
        const gap = along + 3 * Math.abs((px - x) * step[1] + (py - y) * step[0]);
        if (along > 0 && gap < least) [best, least] = [i, gap];
      }
      show(best);
    });
  });
  buttons.forEach((button, group) => button.addEventListener("click", () => {
    only = only === group ? -1 : group;
    buttons.forEach((each, at) => each.setAttribute("aria-pressed", String(at === only)));
    drawAll();
  }));
  new ResizeObserver(drawAll).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();
"""
