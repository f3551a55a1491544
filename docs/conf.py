"""Sphinx: the pages of this folder, and the public names of the package from their docstrings (make docs)."""

from srgan_trt import __version__

project = "srgan-trt"
author = "the authors of srgan-trt"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = False
default_role = "code"  # `name` in a docstring

myst_heading_anchors = 3

napoleon_numpy_docstring = False
autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_maximum_signature_line_length = 88

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"srgan-trt {__version__}"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
