"""Living `nn.Module`s of any make, taken apart by torch.export and checked against themselves."""

from edge_effnet.exporters.inputs.module.network import network_of_module

__all__ = ["network_of_module"]
