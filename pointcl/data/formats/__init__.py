"""Point files of any format as one kind of cloud."""

from pointcl.data.formats.cloud import Cloud, make_cloud
from pointcl.data.formats.read import EXTENSIONS, read_cloud

__all__ = ["EXTENSIONS", "Cloud", "make_cloud", "read_cloud"]
