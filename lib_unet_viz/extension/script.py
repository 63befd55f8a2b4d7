"""The webui's scripts: one in the dropdown of txt2img and img2img, one always on where that is switched on.

What only a run needs is imported by it, so that the webui starts sooner. References are to the webui's
v1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import HTTPException
from modules import processing, scripts, shared

from lib_unet_viz.extension import axes, panel, paths
from lib_unet_viz.hosts.webui import running
from lib_unet_viz.hosts.webui.loaded import keeps_model, loaded_unet
from lib_unet_viz.notation.layer_prompt import OPEN, LayerPrompt
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.settings import Settings, SettingsError
from lib_unet_viz.unet import UnsupportedModelError

if TYPE_CHECKING:
    from lib_unet_viz.hosts.webui.layer_prompts import Layers

TITLE = "U-Net Viz"
ALWAYS_ON_TITLE = f"{TITLE} (always on)"
# Components of the webui, by the ends of their ids.
AROUND = ("prompt", "neg_prompt", "steps", "width", "height", "cfg_scale", "seed", "sampling", "generate")
APART = "sheets are not shown, as the chosen script counts its pictures; they are saved, if pictures are"


class _Script(scripts.Script):
    """What both have in common: the panel, and settings from what the webui passes."""

    panel: panel.ScriptPanel | None = None
    place = ""  # part of the elements' names in the page
    chosen = True  # whether it is a script of the dropdown

    def show(self, is_img2img: bool) -> Any:
        self._around: dict[str, Any] = {}
        self.on_after_component_elem_id: list[tuple[str, Callable[[Any], None]]] = [
            (f"{self.tabname}_{name}", partial(self._remember, name)) for name in AROUND
        ]
        return True

    def _remember(self, name: str, made: Any) -> None:
        """A component of the webui, when it is there."""
        self._around[name] = made.component

    def ui(self, is_img2img: bool) -> list[Any]:
        made = panel.build(Settings.off(), name=f"{self.tabname}_unet_viz{self.place}")
        if self.panel is None:  # the API calls this again, for default values (api.py:326)
            self.panel = made
            self.infotext_fields = made.infotext_fields(TITLE, chosen=self.chosen)
            self.paste_field_names = [panel.INFOTEXT]
            panel.connect(made, self._around)
        return made.components

    def settings(self, p: Any, values: Sequence[Any]) -> Settings:
        """The settings of this run, with what X/Y/Z axes changed. Raises ValueError for wrong ones."""
        if self.panel is None:
            raise RuntimeError("the script's panel has not been made yet")
        settings = axes.applied(p, self.panel.settings(values))
        paths.check(settings)
        from lib_unet_viz.drawing.color import Colorizer

        for section in (settings.features, settings.attention, settings.difference):
            if section.enabled:
                Colorizer.from_settings(section.color)
        return settings


class Dropdown(_Script):
    """Runs the generation with capture, and puts the sheets after their pictures."""

    def title(self) -> str:
        return TITLE

    def show(self, is_img2img: bool) -> Any:
        shown = super().show(is_img2img)
        self.on_after_component_elem_id.append((f"generation_info_{self.tabname}", self._connect_result))
        return shown

    def _connect_result(self, infotexts: Any) -> None:
        """When the gallery is there, after the panel."""
        if self.panel is not None:
            panel.connect_result(self.panel, self._around, infotexts.component)

    def run(self, p: Any, *values: Any) -> Any:
        from lib_unet_viz.capture.recording import reason
        from lib_unet_viz.extension import compare, edited, results
        from lib_unet_viz.hosts.webui.generation import Generation

        running.rest()
        with _for_people(p):
            settings = self.settings(p, values)
            if settings.edit.enabled:
                return edited.run(p, settings, {"Script": TITLE, panel.INFOTEXT: panel.written(settings)})
            generation = Generation(p, settings, layers=layers_of(p, settings))
            given = Generation(p, compare.recorded(settings)) if settings.difference.enabled else None
        if not settings.enabled and not generation.has_layers:
            p.comment(f"{TITLE}: nothing was ticked, so nothing was recorded.")
        if given is not None and not generation.has_layers:
            p.comment(f"{TITLE}: no difference was made, as the prompts have no layer prompts {OPEN} … :~).")
        p.extra_generation_params.update({"Script": TITLE, panel.INFOTEXT: panel.written(settings)})
        more = None
        with generation:
            if given is None or not generation.has_layers:
                processed = processing.process_images(p)
            else:
                with given:
                    processed = processing.process_images(p)
                try:
                    more = partial(compare.again(p, settings, given).sheets, p, settings)
                except Exception as error:  # the picture is there
                    generation.trace.notes.append(f"no difference was made: {reason(error)}")
        results.report(processed, p, generation.trace, settings, more).show(processed)
        return processed


class AlwaysOn(_Script):
    """Records along with any other script. Exceptions here are only logged by the webui (scripts.py:820), so
    what is wrong is raised in the U-Net's first call, which stops the run.
    """

    place = "_always"
    chosen = False

    def title(self) -> str:
        return ALWAYS_ON_TITLE

    def show(self, is_img2img: bool) -> Any:
        super().show(is_img2img)
        return scripts.AlwaysVisible if getattr(shared.opts, axes.ALWAYS_ON_OPTION, False) else False

    def ui(self, is_img2img: bool) -> list[Any]:
        with gr.Accordion(TITLE, open=False, elem_id=f"{self.tabname}_unet_viz_accordion"):
            return super().ui(is_img2img)

    def process(self, p: Any, *values: Any) -> None:
        """Begin to record. A run that is nested in another has its own `p`; a copy of the `p` of a run that
        is recorded is that run: ADetailer calls this with one after each batch, and `postprocess` before.
        """
        if _is_copy(p):
            return
        from lib_unet_viz.hosts.webui.generation import Generation

        running.rest()
        p.unet_viz = None
        try:
            with _for_people(p):
                settings = self.settings(p, values)
                if settings.difference.enabled:
                    raise SettingsError(f"a difference needs two runs: choose {TITLE} in the list of scripts")
                if settings.edit.enabled:
                    raise SettingsError(f"an edit makes more pictures: choose {TITLE} in the list of scripts")
                layers = layers_of(p, settings)
                p.unet_viz_read = layers is not None
                p.unet_viz = Generation(p, settings, layers=layers)
            if settings.changes():
                p.extra_generation_params[panel.INFOTEXT] = panel.written(settings)
        except (ValueError, HTTPException) as error:
            p.unet_viz = running.Refusal(p, error)
        except Exception as error:  # not worth a picture
            from lib_unet_viz.capture.recording import reason

            p.comment(f"{TITLE}: nothing was recorded: {reason(error)}")
            return
        p.unet_viz.__enter__()

    def postprocess(self, p: Any, processed: Any, *values: Any) -> None:
        """Finish, and put the sheets after their pictures."""
        generation = getattr(p, "unet_viz", None)
        if generation is None or _is_copy(p):
            return
        p.unet_viz = None
        generation.__exit__(None, None, None)
        if not isinstance(generation, running.Refusal):
            from lib_unet_viz.extension import results

            settings = generation.settings
            if settings.enabled and _driven(p) and settings.output.show and not axes.varied(p):
                generation.trace.notes.append(APART)
                settings = replace(settings, output=replace(settings.output, show=False))
            results.report(processed, p, generation.trace, settings).show(processed)


def _is_copy(p: Any) -> bool:
    """Whether the run that `p` says it is being recorded in is of another `p`."""
    generation = getattr(p, "unet_viz", None)
    return generation is not None and generation.p is not p


def _driven(p: Any) -> bool:
    """Whether a script of the dropdown drives the run: it counts the pictures (prompt_matrix.py)."""
    return bool(p.script_args and p.script_args[0])


class Watcher(scripts.Script):
    """Unseen and always on: what the other two need at places where the webui calls such scripts only."""

    def title(self) -> str:
        return f"{TITLE} (seams)"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def process_batch(self, p: Any, *values: Any, **more: Any) -> None:
        """Before the webui encodes the prompts."""
        for generation in running.running(p):
            generation.take_prompts()

    def process_before_every_sampling(self, p: Any, *values: Any, **more: Any) -> None:
        """After it has, before each sampling."""
        for generation in running.running(p):
            generation.before_sampling(more.get("x"))

    def post_sample(self, p: Any, ps: Any, *values: Any) -> None:
        """After the last step."""
        for generation in running.running(p):
            generation.after_sampling(ps.samples)

    def postprocess_batch(self, p: Any, *values: Any, images: Any, **more: Any) -> None:
        """After a batch is decoded."""
        for generation in running.running(p):
            generation.after_decoding(images)

    def postprocess(self, p: Any, processed: Any, *values: Any) -> None:
        """Say where the notation was read as plain text."""
        reading = any(generation.layers is not None for generation in running.running(p))
        texts = [*p.all_prompts, *p.all_negative_prompts]
        if not reading and not getattr(p, "unet_viz_read", False) and any(OPEN in text for text in texts):
            processed.comments += (
                f"{TITLE}: {OPEN} was read as plain text: select the script to have it read.\n"
            )


def layers_of(p: Any, settings: Settings) -> Layers | None:
    """The layer prompts of a run, if they are to be read and there are any.

    Raises SpecError for what can be seen to be wrong before wildcards are expanded.
    """
    if not settings.layer_prompts:
        return None
    from lib_unet_viz.hosts.webui.layer_prompts import Layers, texts_of

    found = [LayerPrompt.parse(text, lenient=True) for text in texts_of(p)]
    if keeps_model(p):
        with suppress(RuntimeError, UnsupportedModelError):
            layout = loaded_unet(p.sd_model).layout
            for prompt in found:
                prompt.per_block(layout)
    return Layers(p)


@contextmanager
def _for_people(p: Any) -> Iterator[None]:
    """What a request got wrong becomes a 422 with the reason; in the page it is shown as it is."""
    try:
        yield
    except ValueError as error:
        raise running.for_request(p, error) from error.__cause__


def count_tokens(params: Any) -> None:
    """For `on_before_token_counter`: the notation itself counts nothing."""
    with suppress(SpecError):
        params.prompt = LayerPrompt.parse(params.prompt, lenient=True).erased


def pasted(text: str, found: dict[str, Any]) -> None:
    """For `on_infotext_pasted`: an edit's target brings back its source."""
    from lib_unet_viz.hosts.webui import edit_batch

    edit_batch.pasted(text, found)


def add_options() -> None:
    """The Settings page's section; to be called by `on_ui_settings`."""
    section = ("unet_viz", TITLE)
    info = shared.OptionInfo(False, "Show U-Net Viz as an always-on accordion too", section=section)
    text = "combines with the X/Y/Z plot and any other script; needs a reload of the UI"
    shared.opts.add_option(axes.ALWAYS_ON_OPTION, info.info(text).needs_reload_ui())
