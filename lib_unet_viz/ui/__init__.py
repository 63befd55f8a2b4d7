"""What the page and a webui's tab share, in gradio: components made from `Settings`, tabs, and read-outs.

Imports the core and hosts' contracts; which host runs, `app` and `extension` say.
"""
