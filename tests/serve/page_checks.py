"""Checks of pages that several tests make."""

import re


def contrast(one, other):
    """Contrast of two colours `rgb(r, g, b)` after WCAG 2."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


COLOURS = """() => {
  const kinds = 'h1, h2, label, p, button, a, input, select, textarea, li, summary, span, figcaption';
  const seen = (element) => element.checkVisibility() && element.textContent.trim() && !element.disabled;
  const clear = (element) => getComputedStyle(element).backgroundColor === 'rgba(0, 0, 0, 0)';
  return [...document.querySelectorAll(kinds)].filter(seen).map((element) => {
    let behind = element;
    while (behind && clear(behind)) behind = behind.parentElement;
    const ground = behind ? getComputedStyle(behind).backgroundColor : 'rgb(255, 255, 255)';
    return [element.outerHTML.slice(0, 80), getComputedStyle(element).color, ground];
  });
}"""


def low_contrasts(page):
    """Texts and controls of a page whose contrast is below 4.5 (WCAG 2, AA), with it."""
    found = [(what, round(contrast(*colours), 2)) for what, *colours in page.evaluate(COLOURS)]
    return [each for each in found if each[1] < 4.5]
