"""Published methods on points, one file each; importing this package registers them."""

from pointcl.methods.base import PointMethod
from pointcl.methods.csc import CSC
from pointcl.methods.fac import FAC
from pointcl.methods.pointcontrast import PointContrast
from pointcl.methods.ppkt import PPKT
from pointcl.methods.slidr import SLidR

__all__ = ["CSC", "FAC", "PPKT", "PointContrast", "PointMethod", "SLidR"]
