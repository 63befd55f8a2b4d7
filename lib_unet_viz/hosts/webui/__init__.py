"""AUTOMATIC1111's webui, and Forge: a generation that is looked at, edited, or given layers' prompts.

Imports the webui's `modules`, which are there only in its process.
"""
