"""The page's looks: a theme with the system's own fonts, and a little CSS on gradio's variables."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_unet_viz.ui.components import known

# Of what a webui shows as well.
PARTS_CSS = """
.uv-heading { font-size: 1.05rem; font-weight: 600; margin: 0.9rem 0 0; }
.uv-note { opacity: 0.75; font-size: 0.92rem; margin: 0.1rem 0 0.2rem; }
.uv-summary { font-size: 0.9rem; font-weight: 600; margin: 0.1rem 0 0.4rem; }
.uv-problem { white-space: pre-wrap; overflow-wrap: anywhere; font-family: var(--font-mono); font-size:
  0.85rem;
  line-height: 1.45; margin: 0.2rem 0; padding: 0.6rem 0.8rem; border-left: 3px solid #c2410c;
  background: rgba(234, 88, 12, 0.09); color: var(--body-text-color); border-radius: 4px; }
.uv-stale { font-size: 0.92rem; margin: 0.2rem 0; padding: 0.4rem 0.8rem; border-left: 3px solid #ca8a04;
  background: rgba(202, 138, 4, 0.13); color: var(--body-text-color); border-radius: 4px; }
.uv-results:has(.uv-stale) img:not(#edit-preview img) { opacity: 0.45; }
.uv-empty { border: 1px dashed var(--border-color-primary); border-radius: 8px; padding: 1.1rem 1.3rem; }
.uv-empty p, .uv-empty li { margin: 0 0 0.25rem; opacity: 0.75; font-size: 0.95rem; }
.uv-empty ul { margin: 0; padding-left: 1.2rem; list-style: disc; }
.uv-progress { font-size: 0.92rem; font-variant-numeric: tabular-nums; }
.uv-bar { height: 6px; margin: 0.4rem 0 0.2rem; border-radius: 3px; overflow: hidden;
  background: var(--border-color-primary); }
.uv-bar div { height: 100%; background: var(--color-accent); transition: width 0.2s; }
.uv-table { max-height: 240px; overflow: auto; border: 1px solid var(--border-color-primary); border-radius:
  6px; }
.uv-table table { width: 100%; border-collapse: collapse; font-size: 0.82rem; font-variant-numeric:
  tabular-nums; }
.uv-table th { position: sticky; top: 0; text-align: left; font-weight: 600; padding: 0.3rem 0.6rem;
  line-height: 1.25;
  background: var(--background-fill-secondary); }
.uv-table th, .uv-table td { border: none !important; }
.uv-table th:first-child, .uv-table td:first-child { padding-left: 0.6rem !important; }
.uv-table td { padding: 0.22rem 0.6rem; border-top: 1px solid var(--border-color-primary) !important;
  white-space: nowrap; }
.uv-table .uv-off td { opacity: 0.5; font-style: italic; }
.uv-picture > button, .uv-picture .image-container > button, .uv-picture .image-frame { width: 100%; height:
  auto; }
.uv-picture img { width: 100% !important; height: auto !important; max-height: 380px; object-fit: contain
  !important; }
.uv-sheet img { width: 100% !important; height: auto !important; object-fit: contain !important; }
.uv-gallery .grid-wrap { min-height: 0 !important; height: auto !important; max-height: 640px; overflow-y:
  auto; }
.uv-gallery .grid-container { grid-template-rows: none !important; grid-auto-rows: auto !important; height:
  auto; }
.uv-gallery .caption-label { max-width: 100%; }
#edit-pictures .grid-container { grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)) !important; }
#edit-pictures .caption-label { white-space: normal; overflow-wrap: anywhere; text-align: right; }
#edit-masks .grid-container { grid-template-columns: 1fr !important; }
#edit-masks .thumbnail-item { aspect-ratio: auto !important; }
#edit-masks .caption-label { display: none; }
.uv-edit section { margin: 0.5rem 0 0.7rem; }
.uv-edit .uv-target { margin: 0 0 0.35rem; font-size: 0.95rem; overflow-wrap: anywhere; }
.uv-edit .uv-target q { quotes: "“" "”"; }
.uv-words { display: flex; flex-wrap: wrap; gap: 0.45rem 0.3rem; }
.uv-words > div { display: grid; grid-template-rows: 1.6rem 1.6rem auto; row-gap: 3px; text-align: center; }
.uv-words > div > span { display: flex; justify-content: center; align-items: center; gap: 0.35em;
  min-width: 1.9rem; padding: 0 0.4rem; border-radius: 5px; font-size: 0.88rem; white-space: nowrap;
  border: 1px solid transparent; background: rgba(128, 128, 128, 0.1); }
.uv-words > div > span:empty { background: none; border: 1px dashed rgba(128, 128, 128, 0.45); }
.uv-words .uv-sides > span { justify-content: flex-end; background: none; padding-left: 0; opacity: 0.65;
  font-size: 0.82rem; }
.uv-words kbd { all: unset; padding: 0 1px; }
.uv-words kbd + kbd { border-left: 1px solid rgba(128, 128, 128, 0.55); }
.uv-words small { font-size: 0.72rem; line-height: 1.1; opacity: 0.85; }
.uv-fate-kept > span { opacity: 0.8; }
.uv-fate-swapped > span:nth-child(2) { background: rgba(13, 148, 136, 0.22); border-color: #0d9488; }
.uv-fate-new > span:nth-child(2) { background: rgba(59, 130, 246, 0.2); border-color: #3b82f6; }
.uv-fate-dropped > span:first-child { background: rgba(234, 88, 12, 0.14); border-color: #ea580c;
  text-decoration: line-through; }
.uv-workspace { display: block; width: 100%; height: min(860px, 92vh); border: 1px solid
  var(--border-color-primary); border-radius: 8px; color-scheme: light; }
.dark .uv-workspace { color-scheme: dark; }
.uv-weighted > span:nth-child(2) { font-weight: 700; opacity: 1; border-color: currentColor; }
"""
CSS = (
    PARTS_CSS
    + """
body:has(#picture-out-of-date .uv-stale) :is(#features, #attention) img { opacity: 0.45; }
.gradio-container { max-width: 1240px !important; width: 100% !important; margin: 0 auto !important; }
.uv-title h1 { font-size: 1.6rem; font-weight: 650; letter-spacing: -0.01em; margin: 0.4rem 0 0.1rem; }
.uv-title p { margin: 0; opacity: 0.75; font-size: 0.98rem; }
.uv-title .uv-model { font-size: 0.85rem; margin-top: 0.15rem; }
.uv-buttons { justify-content: flex-end; }
.uv-buttons button { max-height: 3rem; flex-grow: 0; }
#words .grid-container { grid-template-columns: repeat(auto-fill, minmax(100px, 1fr)) !important; }
#features .grid-container, #changes .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)) !important; }
#features .thumbnail-item, #changes .thumbnail-item {
  aspect-ratio: 4 / 3 !important; background: #17181c !important; }
#attention .grid-wrap { overflow-x: auto; }
#attention .grid-container { grid-template-columns: max-content !important; }
#attention .thumbnail-item { aspect-ratio: auto !important; height: auto !important; width: auto !important;
  }
#attention .thumbnail-item img { min-width: 320px; min-height: 120px; object-fit: contain;
  height: auto !important; width: auto !important; max-width: none !important; }
#attention .caption-label, #vxa-examples .caption-label { display: none; }
#vxa-examples .grid-container { grid-template-columns: repeat(auto-fill, minmax(88px, 1fr)) !important; }
"""
)


def theme() -> Any:
    """Gradio's default theme in a quieter colour, with fonts that need no download."""
    base = gr.themes.Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Consolas", "monospace"],
    )
    deep, deeper = "*primary_700", "*primary_800"  # white on gradio's own teal is hard to read
    colors = {
        "button_primary_background_fill": deep,
        "button_primary_background_fill_hover": deeper,
        "button_primary_background_fill_dark": deep,
        "button_primary_background_fill_hover_dark": deeper,
        "button_primary_text_color": "white",
        "button_primary_text_color_dark": "white",
        "checkbox_background_color_selected": deep,
        "checkbox_border_color_selected": deep,
        "slider_color": deep,
        "checkbox_border_color_dark": "*neutral_500",
    }
    return base.set(**known(base.set, **colors))
