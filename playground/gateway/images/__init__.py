"""Images from engines that do not speak OpenAI's protocol: ComfyUI and Stable Diffusion web UI.

Wire formats: ComfyUI 0.3 (server.py, execution.py, script_examples/websockets_api_example.py) and
stable-diffusion-webui 1.10 (modules/api/api.py, modules/api/models.py, modules/progress.py).
"""
